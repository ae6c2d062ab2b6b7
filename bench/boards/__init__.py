"""Where contenders run: a board takes an artifact and says how a worker is started on it."""
