"""Language models in numpy, float64 throughout: the reference for what transformers lacks.

Written from the definitions of the families, for clarity and not for speed: one sequence at a time,
no cache, no batch. Weights are used exactly as stored, quantized ones by the values that their bits
stand for. `Decoder` is the entry.
"""
