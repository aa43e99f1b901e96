"""Campaigns: long seeded trials that are run by hand, one script a subject. pytest does not collect them.

Each tries the command line many times and counts how it ends; `outcomes` runs and counts. See docs/design/damage.md.
"""
