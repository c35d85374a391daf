"""What runs inside the notebook. Empty of imports: `bootstrap` runs before anything is installed.

Top to bottom: submission (`prepare`, then `serve`: what the notebook calls) -> predict (what Kaggle calls) -> boundary
(which never raises) and startup (what comes before the first attempt, as a startup_graph) -> engine (in this process,
or by a vLLM server: vllm) -> recipe (all that decides how attempts are made) and prefetch (files into the page cache).
"""
