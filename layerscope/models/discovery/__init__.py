"""Find the parts of a model by watching it run. Independent of texts, files and schedules; knows no model family."""
