"""What a user writes: pyright checks it in strict mode."""

from pathlib import Path

import mnbench

options = mnbench.variants("v1", alpha=(0.25, 0.5), resolution=(96, 128))
names: list[str] = [variant.name for variant in options]
model: mnbench.Model = mnbench.build("v1", alpha=0.25, resolution=96)
saved: Path = model.save("v1.onnx")
data: bytes = model.to_bytes()
mult_adds: int | None = mnbench.cost("v1", alpha=0.5, per="layer").mult_adds
sampling = mnbench.SamplingConfig(processes=2, budget_s=1.0, duration_s=0.1)
presets: list[mnbench.SamplingConfig] = [mnbench.SamplingConfig.quick(), mnbench.SamplingConfig.thorough()]
results: mnbench.Results = mnbench.run([*options, "v1-a0.5-r96"], sampling=sampling, results="results")
fast: mnbench.Results = results.where("latency_ns<=10ms").sort("latency_ns")
comparison: mnbench.Comparison = mnbench.compare("v1-a0.25-r64", "v1-a0.5-r64", rules=mnbench.DecisionRules())
passed: bool = comparison.passed
report: str = comparison.export("junit")
agrees: bool = mnbench.verify("v1-a0.25-r64").agrees
mnbench.plot(mnbench.load_results("results")).save("plot.svg")
try:
    mnbench.gate("results/cpu.jsonl")
except mnbench.MnbenchError as error:
    hint: str = error.hint
