"""Colours that colour-blind people can tell apart, of Okabe & Ito (https://jfly.uni-koeln.de/color/)."""

BLUE, VERMILION, GREEN, SKY, YELLOW, PURPLE = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#E69F00", "#CC79A7"
GREY = "#595959"
