"""What every engine needs of texts and model folders, without torch: chat, transcript, stop_strings, model_folder."""
