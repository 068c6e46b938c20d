"""Run by inference.py with the Python of an environment that has esm-cpp: a JSON file in, JSON out."""

import json
import resource
import sys
import time

import esm_cpp

with open(sys.argv[1], encoding="utf-8") as handle:
    work = json.load(handle)
model = esm_cpp.Model.load_from_safetensors(work["weights"])
tokenizer = esm_cpp.Tokenizer()
model.forward(tokenizer.encode("MKTAYIAKQR"))  # the first call prepares
before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
found = model.forward_scheduled([tokenizer.encode(sequence) for sequence in work["sequences"]])
seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
answer = {"seconds": round(seconds, 3), "cpu_seconds": round(busy, 3), "first": found[0].tolist()}
print(json.dumps({**answer, "peak_mb": round(after.ru_maxrss / 1024)}))
