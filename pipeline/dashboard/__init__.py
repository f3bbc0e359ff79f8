"""TFMA's and TFDV's own widgets over a run: `dashboard.ipynb` shows them, `artifacts` reads for it, `launch` opens it."""
