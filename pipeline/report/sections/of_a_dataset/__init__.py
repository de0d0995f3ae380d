"""What is shown of each data set, one file each; the order stands in the package above."""
