"""One self-contained HTML page of runs and dry runs: figures, pictures, and the completions themselves.

A completion is hostile text: it travels as JSON, its script writes it as text nodes alone, and a content security
policy lets nothing run or load but the page's own script and style, by their hashes.
"""
