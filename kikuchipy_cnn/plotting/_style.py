"""What several figures draw alike."""

# Line at the accuracy of guessing.
CHANCE_STYLE = {"color": "black", "linestyle": "--", "linewidth": 1}
