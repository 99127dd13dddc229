"""Plans that run: simulated, executed, emulated."""
