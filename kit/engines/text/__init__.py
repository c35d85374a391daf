"""Texts and model folders for every engine, without torch: chat, transcript, stop_strings, model_folder."""
