"""The HTTP port of every service that strangers reach: deadlines, limits, and refusals that say why."""
