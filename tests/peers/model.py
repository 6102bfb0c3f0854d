"""The models of both peers, in PyTorch."""

import os

import torch

FEATURES = 768
TOKENS = 384
LAYERS = 34


class Slow(torch.nn.Module):
    """The arithmetic of model-server/models/demo-mlp.onnx; what its weights are makes no difference to the time it takes."""

    def __init__(self):
        super().__init__()
        self.spread = torch.nn.Linear(2, TOKENS, bias=False)
        self.mix = torch.nn.Linear(TOKENS, TOKENS, bias=False)
        self.head = torch.nn.Linear(TOKENS, 2, bias=False)

    def forward(self, features):
        hidden = self.spread(features.reshape(-1, TOKENS, 2))
        for _ in range(LAYERS):
            hidden = torch.relu(self.mix(hidden))
        return self.head(hidden.mean(dim=1))


def load():
    """The tutorial's Linear(768, 2), or with PEER_MODEL=slow one that takes milliseconds on a single core."""
    slow = os.environ.get("PEER_MODEL") == "slow"
    if slow:
        torch.set_num_threads(1)
    model = Slow() if slow else torch.nn.Linear(FEATURES, 2)
    return model.eval()
