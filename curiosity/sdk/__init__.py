"""What the command offers people, for programs: one class that waits (`Client`) and one that does not (`AsyncClient`).

`import curiosity` gives out the names; docs/api.md describes each.
"""
