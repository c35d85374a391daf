"""Training: what makes a model better at problems. `tiny` holds the shipped model's own making.

Top to bottom: run (one run of `kit train`) -> methods (what is trained), batches and rows (from what), records -> loop
(one for all objectives) -> recursive and language (the losses of a recursion and of a plain model), depth_schedule ->
objective, optimiser, ema, checkpoint, workers. depth_task makes problems whose depth is known.
"""
