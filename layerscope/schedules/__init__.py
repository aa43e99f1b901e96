"""Which blocks run, in which order: schedules as plain data. Knows no torch and no model."""
