"""How good will this prediction be? What it says about itself, and a learned map from that to the metric's rows."""
