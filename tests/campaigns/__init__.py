"""Campaigns: long seeded trials that are run by hand, one module a subject. The tests run a small part of each.

``python -m tests.campaigns.NAME --count N --seed S`` prints a table of how the trials ended, and exits with 1 where one ended
wrongly. `report` counts, and `processes` runs command lines in processes of their own. See docs/design/damage.md.
"""
