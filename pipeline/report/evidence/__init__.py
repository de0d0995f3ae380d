"""The papers' claims and published numbers, decided by computation on this run's numbers.

statistics  estimates over seeds, intervals, p values, effect sizes, Holm's correction
decisions   the objects that hold what was found: numbers, a verdict, a reason as a value
claims      the four kinds of tests: `judge` decides every claim on every data set
ranking     which of several rows is best, and which others are not told apart from it
published   published numbers beside measured ones: met, missed, too noisy
wording     all of it in words
"""
