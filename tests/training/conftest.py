from tests.torch_threads import _one_torch_thread

__all__ = ["_one_torch_thread"]
