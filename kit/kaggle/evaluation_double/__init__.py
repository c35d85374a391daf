"""The kit's double of `kaggle_evaluation`: its wire protocol, the inference server and the gateway that asks."""
