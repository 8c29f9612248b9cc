"""Marks of the report's figures, told apart by shape as well as by colour."""

# colours that people with any colour vision tell apart (Okabe and Ito, 2008)
SAFE_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", "-.", ":")
