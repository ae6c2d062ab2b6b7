"""Can't be imported: it needs a package that nobody has."""

import a_package_that_nobody_has  # type: ignore[import-not-found]

open_contender = a_package_that_nobody_has.open_contender
