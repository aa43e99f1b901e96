"""The records of all measures, a module a subject. They know no arrays."""
