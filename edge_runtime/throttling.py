"""Whether something slows the processors down: the Raspberry Pi's firmware, the kernel's cooling, a low supply."""

import re

from edge_runtime.tree import Tree, as_integer

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
SINCE_BOOT_SHIFT = 16

# Bits 0 to 3 say "now", the same 16 places higher "since boot".
# Source: Raspberry Pi documentation, "vcgencmd", get_throttled
SOFT_LIMIT = "soft temperature limit"
FIRMWARE_BITS = ("under-voltage", "clock capped", "throttled", SOFT_LIMIT)

# Only these slow a processor; a fan that runs is a cooling device too.
# Source: Linux, drivers/thermal/cpufreq_cooling.c and cpuidle_cooling.c, whose names began with "thermal-" before 5.12,
# and drivers/acpi/processor_driver.c
SLOWING = re.compile(r"(thermal-)?(cpufreq|idle)-|Processor$")


def firmware_bits(tree: Tree) -> int | None:
    """Return what the Raspberry Pi's firmware says, from sysfs or `vcgencmd`; None on other machines."""
    text = tree.text(FIRMWARE) or tree.command("vcgencmd", "get_throttled")
    return as_integer((text or "").removeprefix("throttled="), 16)


def now(bits: int) -> tuple[str, ...]:
    """Return what the bits say of the present."""
    return tuple(name for place, name in enumerate(FIRMWARE_BITS) if bits >> place & 1)


def since_boot(bits: int) -> tuple[str, ...]:
    """Return what the bits say of the time since the machine started."""
    return now(bits >> SINCE_BOOT_SHIFT)


def cooling_steps(tree: Tree) -> int | None:
    """Return by how many steps the kernel's thermal framework holds the processors back; None when it has no say.

    Source: Documentation/driver-api/thermal/sysfs-api.rst (cur_state).
    """
    folder = "sys/class/thermal"
    devices = [
        device
        for device in tree.names(folder, "cooling_device*")
        if SLOWING.match(tree.text(f"{folder}/{device}/type") or "")
    ]
    steps = [tree.integer(f"{folder}/{device}/cur_state") for device in devices]
    known = [step for step in steps if step is not None]
    return sum(known) if known else None


def undervoltage(tree: Tree) -> bool | None:
    """Return the alarm of the Raspberry Pi's supply; None without one.

    Source: Linux, drivers/hwmon/raspberrypi-hwmon.c (in0_lcrit_alarm).
    """
    folder = "sys/class/hwmon"
    for device in tree.names(folder, "hwmon*"):
        if tree.text(f"{folder}/{device}/name") == "rpi_volt":
            alarm = tree.integer(f"{folder}/{device}/in0_lcrit_alarm")
            return None if alarm is None else alarm != 0
    return None


def hottest_millicelsius(tree: Tree) -> int | None:
    """Return the temperature of the hottest thermal zone."""
    folder = "sys/class/thermal"
    readings = [tree.integer(f"{folder}/{zone}/temp") for zone in tree.names(folder, "thermal_zone*")]
    return max((reading for reading in readings if reading is not None), default=None)


def headroom_millicelsius(tree: Tree) -> int | None:
    """Return how far the nearest zone is from the point where the kernel begins to slow the processors down.

    Source: Documentation/driver-api/thermal/sysfs-api.rst (trip_point_*_type "passive").
    """
    folder = "sys/class/thermal"
    distances = []
    for zone in tree.names(folder, "thermal_zone*"):
        temperature = tree.integer(f"{folder}/{zone}/temp")
        for kind in tree.names(f"{folder}/{zone}", "trip_point_*_type"):
            trip = tree.integer(f"{folder}/{zone}/{kind.removesuffix('type')}temp")
            if tree.text(f"{folder}/{zone}/{kind}") == "passive" and trip is not None and temperature is not None:
                distances.append(trip - temperature)
    return min(distances, default=None)
