"""Find the parts of a model by watching it run. It does not depend on texts, files, schedules or model families."""
