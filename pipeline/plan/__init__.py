"""The stage `plan`: params.yaml, checked, and what each row and data set is made from."""
