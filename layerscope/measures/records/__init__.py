"""The records of all measures, one module a subject. They do not import array libraries."""
