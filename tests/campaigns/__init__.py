"""Campaigns: long seeded trials to run by hand, one module for each subject. The tests run a small part of each.

``python -m tests.campaigns.NAME --count N --seed S`` prints a table of the outcomes, and exits with 1 if there is a fault.
`report` counts, and `processes` runs command lines in separate processes. See docs/design/damage.md.
"""
