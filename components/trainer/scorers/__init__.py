"""The kinds of model: each scores one row, ad and display, by a logit. `components/trainer/model.py` builds them."""
