"""What feature engineering costs, measured; needs the packages of the `dev` extra."""
