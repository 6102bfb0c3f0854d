#!/usr/bin/env python3
"""Checks the model server on a GPU against PyTorch on the same one: what it computes, how fast, whether the gauge says what
nvidia-smi says, and what becomes of it when memory is short and when the device fails. Takes about three minutes.

    check.py [--program model-server] [--report FOLDER] [STEP...]

Needs Python with PyTorch 2.11 for CUDA, whose libraries the program uses, and NumPy. The models are made here. FOLDER gets
report.json and report.txt. Ends with 1 if a check fails, and with 69 where there is no GPU.
"""

import argparse
import contextlib
import glob
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

import numpy

try:
    import torch
except ImportError:
    torch = None

UNAVAILABLE = 69
NAME = "m"
BATCHES = [1, 8, 32, 128]
MOST_ROWS = 128
CLIENTS = 16
LOOP_SECONDS, LOAD_SECONDS = 1.0, 2.0
# No step is begun later.
MOST_SECONDS = 230


# --- models ---


class Mlp(torch.nn.Module if torch else object):
    """8 million weights."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(768, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 2048), torch.nn.ReLU(),
            torch.nn.Linear(2048, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 10),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


class Cnn(torch.nn.Module if torch else object):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(64, 128, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.head = torch.nn.Linear(128, 10)

    def forward(self, image):
        return self.head(self.body(image).flatten(1))


class Transformer(torch.nn.Module if torch else object):
    """Ids and a mask in, a dictionary of two outputs out."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(1000, 256)
        self.layers = torch.nn.ModuleList([Block() for _ in range(4)])
        self.head = torch.nn.Linear(256, 10)

    def forward(self, ids, mask):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, mask)
        pooled = x.mean(1)
        return {"logits": self.head(pooled), "pooled": pooled}


class Block(torch.nn.Module if torch else object):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(256, 768), torch.nn.Linear(256, 256)
        self.norms = torch.nn.ModuleList([torch.nn.LayerNorm(256), torch.nn.LayerNorm(256)])
        self.mlp = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256))

    def forward(self, x, mask):
        q, k, v = (part.unflatten(-1, (4, 64)).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, -1))
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class Lookup(torch.nn.Module if torch else object):
    """A number beyond the table makes the GPU fail: a kernel finds it, and its context is broken."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(1000, 16))

    def forward(self, ids):
        return self.table[ids]


class Greedy(torch.nn.Module if torch else object):
    """Takes 16 MiB for each number."""

    def forward(self, x):
        spread = x.unsqueeze(2).expand(-1, -1, 4194304) + 1.0
        return spread.mean(2).sum(1, keepdim=True)


IDS, MASK = {"name": "ids", "data_type": "TYPE_INT64", "dims": [16]}, {"name": "mask", "data_type": "TYPE_BOOL", "dims": [16]}


def singles(name, *dims):
    return {"name": name, "data_type": "TYPE_FP32", "dims": list(dims)}


def models():
    """Name → module, example of one row, what a configuration file says of its inputs and outputs, tolerance."""
    image, ids = torch.rand(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.long)
    mask = torch.ones(1, 16, dtype=torch.bool)
    return {
        "mlp": (Mlp(), [torch.rand(1, 768)], [singles("x", 768)], [singles("y", 10)], 1e-4),
        # cuDNN's convolutions have ten bits of mantissa unless they are told otherwise.
        "cnn": (Cnn(), [image], [singles("image", 3, 32, 32)], [singles("logits", 10)], 5e-3),
        "transformer": (Transformer(), [ids, mask], [IDS, MASK], [singles("logits", 10), singles("pooled", 256)], 1e-4),
        "lookup": (Lookup(), [ids], [IDS], [singles("rows", 16, 16)], 0),
        "greedy": (Greedy(), None, [singles("x", -1)], [singles("sum", 1)], 0),
    }


def save(folder, name):
    """Writes a model with its configuration beside it, and gives its path."""
    module, example, inputs, outputs, _ = models()[name]
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    folder = pathlib.Path(folder) / name
    folder.mkdir()
    with torch.no_grad():
        traced = torch.jit.trace(module.eval(), tuple(example), strict=False) if example else torch.jit.script(module.eval())
    traced.save(str(folder / "model.pt"))
    config = {"max_batch_size": MOST_ROWS, "input": inputs, "output": outputs}
    (folder / "model.json").write_text(json.dumps(config))
    return folder / "model.pt"


def random_inputs(name, rows, seed=1):
    random = numpy.random.default_rng(seed)
    inputs = []
    for spec in models()[name][2]:
        shape = [rows, *spec["dims"]]
        if spec["data_type"] == "TYPE_INT64":
            inputs.append((spec["name"], "INT64", random.integers(0, 1000, shape, dtype=numpy.int64)))
        elif spec["data_type"] == "TYPE_BOOL":
            mask = random.random(shape) < 0.8
            mask[:, 0] = True
            inputs.append((spec["name"], "BOOL", mask))
        else:
            inputs.append((spec["name"], "FP32", random.uniform(-1, 1, shape).astype(numpy.float32)))
    return inputs


# --- the server ---


class Server:
    """The program with a model, on the GPU."""

    def __init__(self, program, model, *flags, device="cuda"):
        flags = ["--listen=127.0.0.1:0", "--log-format=json", "--drain-delay=0", f"--model={model}", f"--model-name={NAME}", *flags]
        environment = dict(os.environ, LD_LIBRARY_PATH=libraries())
        began = time.monotonic()
        self.log = []
        self.process = subprocess.Popen(
            [program, f"--device={device}", f"--max-batch-size={MOST_ROWS}", "--gpu-poll-interval=0.5", *flags],
            stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        for line in self.process.stderr:
            event = parse(line)
            self.log.append(event)
            if event.get("message") == "listening":
                self.address = event["address"]
            if event.get("message") == "model ready":
                break
        else:
            raise AssertionError(f"the program ended with {self.process.wait()}: {self.log[-5:]}")
        self.started = time.monotonic() - began
        self.reader = threading.Thread(target=self.read_on, daemon=True)
        self.reader.start()

    def read_on(self):
        for line in self.process.stderr:
            self.log.append(parse(line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.code = self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.code = "killed after 40 s"

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, series):
        for line in self.get("/metrics")[1].splitlines():
            if line.rsplit(" ", 1)[0] == series:
                return float(line.rsplit(" ", 1)[1])
        return None

    def infer(self, inputs):
        """Outputs by name, or the status and text of a refusal."""
        head, body = request_body(inputs)
        headers = {"Inference-Header-Content-Length": str(len(head))}
        request = urllib.request.Request(f"http://{self.address}/v2/models/{NAME}/infer", head + body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                length = int(answer.headers["Inference-Header-Content-Length"])
                content = answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        outputs, at = {}, length
        for output in json.loads(content[:length])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            kind = {"FP32": numpy.float32, "INT64": numpy.int64}[output["datatype"]]
            outputs[output["name"]] = numpy.frombuffer(content[at : at + size], kind).reshape(output["shape"])
            at += size
        return 200, outputs


def parse(line):
    try:
        return json.loads(line)
    except ValueError:
        return {"message": line.strip()}


def libraries():
    """Where PyTorch has its own, which bring along all others."""
    folders = [str(pathlib.Path(torch.__file__).parent / "lib")]
    folders += glob.glob(str(pathlib.Path(torch.__file__).parents[1] / "nvidia" / "*" / "lib"))
    return ":".join([*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])


def request_body(inputs):
    tensors, body = [], b""
    for name, datatype, array in inputs:
        data = array.tobytes()
        size = {"binary_data_size": len(data)}
        tensors.append({"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": size})
        body += data
    head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": tensors}).encode()
    return head, body


def load(address, inputs, clients, seconds):
    """Answers a second of so many clients that ask again and again, all with the same request, and their latencies."""
    head, body = request_body(inputs)
    request = (
        f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {len(head)}\r\n"
        f"Content-Length: {len(head) + len(body)}\r\n\r\n"
    ).encode() + head + body  # fmt: skip
    processes = min(8, clients, max(1, os.cpu_count() - 2))
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    start = time.monotonic() + 0.3
    workers = [context.Process(target=drive, args=(address, request, share, start, seconds, results)) for share in shares]
    for worker in workers:
        worker.start()
    latencies, faults = [], []
    for _ in workers:
        some, fault = results.get(timeout=seconds + 60)
        latencies += some
        faults += fault
    for worker in workers:
        worker.join()
    latencies.sort()
    quantile = lambda share: latencies[int(share * (len(latencies) - 1))] * 1000 if latencies else None
    return {"per_second": len(latencies) / seconds, "p50_ms": quantile(0.5), "p99_ms": quantile(0.99), "faults": faults[:3], "refused": len(faults)}


def drive(address, request, clients, start, seconds, results):
    host, port = address.rsplit(":", 1)
    latencies, faults, lock = [], [], threading.Lock()

    def client():
        mine = []
        try:
            with socket.create_connection((host, int(port))) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                time.sleep(max(0, start - time.monotonic()))
                while True:
                    began = time.monotonic()
                    if began > start + seconds:
                        break
                    connection.sendall(request)
                    status = read_answer(connection)
                    ended = time.monotonic()
                    if status != 200:
                        faults.append(f"status {status}")
                    elif ended <= start + seconds:
                        mine.append(ended - began)
        except OSError as error:
            faults.append(repr(error))
        with lock:
            latencies.extend(mine)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((latencies, faults))


def read_answer(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionError("closed")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    missing = length - len(rest)
    while missing > 0:
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            raise ConnectionError("closed")
        missing -= len(part)
    return int(head.split(b" ", 2)[1])


# --- PyTorch alone, in a process of its own: this one must not hold a context while the device fails ---


def on_its_own(work, *arguments):
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def torch_outputs(path, name, batches, device):
    """Outputs by name for each number of rows."""
    module = torch.jit.load(path, map_location=device).eval()
    computed = {}
    with torch.no_grad():
        for rows in batches:
            output = module(*[torch.from_numpy(array).to(device) for _, _, array in random_inputs(name, rows)])
            output = output if isinstance(output, dict) else {"": output}
            computed[rows] = {key: value.cpu().numpy() for key, value in output.items()}
    return computed


def torch_loops(path, name, device):
    """Rows a second of a bare loop for each batch size: from NumPy to NumPy, as a server has to."""
    module = torch.jit.load(path, map_location=device).eval()
    rates = {}
    with torch.no_grad():
        for rows in BATCHES:
            arrays = [array for _, _, array in random_inputs(name, rows)]

            def once():
                output = module(*[torch.from_numpy(array).to(device) for array in arrays])
                outputs = output.values() if isinstance(output, dict) else [output]
                return [value.cpu().numpy() for value in outputs]

            for _ in range(10):
                once()
            began, count = time.monotonic(), 0
            while time.monotonic() - began < LOOP_SECONDS:
                once()
                count += 1
            rates[rows] = count * rows / (time.monotonic() - began)
    return rates


def take_memory(left, taken, done):
    """Takes the GPU's memory but for so many bytes."""
    blocks = []
    with contextlib.suppress(torch.OutOfMemoryError):
        while torch.cuda.mem_get_info()[0] > left:
            blocks.append(torch.empty(1 << 28, dtype=torch.uint8, device="cuda"))
    taken.set()
    done.wait(120)


# --- the steps ---


class Report:
    def __init__(self):
        self.checks, self.tables = [], {}

    def check(self, name, holds, found):
        self.checks.append({"check": name, "passed": bool(holds), "found": found})
        print(f"{'ok  ' if holds else 'FAIL'} {name}: {found}", flush=True)


def parity(report, program, folder, device):
    for name in ("mlp", "cnn", "transformer"):
        path = save(folder / "parity", name)
        tolerance = models()[name][4]
        batches = (1, 7, 32, MOST_ROWS)
        computed = on_its_own(torch_outputs, str(path), name, batches, device)
        with Server(program, path, device=device) as server:
            worst = 0.0
            for rows in batches:
                inputs = random_inputs(name, rows)
                status, found = server.infer(inputs)
                if status != 200:
                    report.check(f"{name} computes {rows} rows", False, found)
                    continue
                wanted = computed[rows]
                for number, (key, array) in enumerate(found.items()):
                    expected = wanted.get(key, list(wanted.values())[number])
                    worst = max(worst, difference(array, expected))
            report.check(f"{name} computes what PyTorch does on {device}", worst <= tolerance, f"largest difference {worst:.2e}")
            threads = mixing(server, name)
            report.check(f"{name} mixes up no clients", threads <= tolerance, f"largest difference {threads:.2e}")
        report.check(f"{name}: the program ends with 0", server.code == 0, server.code)


def difference(found, expected):
    """The largest, as a share of the largest number if that is more than 1."""
    if found.shape != expected.shape:
        return float("inf")
    return float(numpy.abs(found - expected).max() / max(1.0, numpy.abs(expected).max()))


def mixing(server, name):
    """Many clients at the same time, each with rows of its own, against the same rows alone."""
    worst, lock = [0.0], threading.Lock()
    alone = {seed: server.infer(random_inputs(name, 1 + seed % 5, seed))[1] for seed in range(32)}

    def client(seed):
        for _ in range(10):
            status, found = server.infer(random_inputs(name, 1 + seed % 5, seed))
            apart = [difference(array, alone[seed][key]) for key, array in found.items()] if status == 200 else [float("inf")]
            with lock:
                worst[0] = max(worst[0], *apart)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return worst[0]


def throughput(report, program, folder, device):
    rows_table = []
    for name in ("mlp", "cnn", "transformer"):
        path = save(folder / "throughput", name)
        loops = on_its_own(torch_loops, str(path), name, device)
        with Server(program, path, device=device) as server:
            for rows in BATCHES:
                found = load(server.address, random_inputs(name, rows), CLIENTS, LOAD_SECONDS)
                rate = found["per_second"] * rows
                rows_table.append({"model": name, "rows": rows, "clients": CLIENTS, "loop": loops[rows], "server": rate,
                                   "ratio": rate / loops[rows], **found})  # fmt: skip
            found = load(server.address, random_inputs(name, 1), 64, LOAD_SECONDS)
            rows_table.append({"model": name, "rows": 1, "clients": 64, "loop": loops[32], "server": found["per_second"],
                               "ratio": found["per_second"] / loops[32], **found})  # fmt: skip
            batch = server.metric(f'inference_batch_size_sum{{model="{NAME}"}}') / server.metric(
                f'inference_batch_size_count{{model="{NAME}"}}'
            )
            print(f"     {name}: ready after {server.started:.1f} s, mean batch {batch:.1f} rows", flush=True)
    report.tables["throughput"] = rows_table
    for row in rows_table:
        if row["clients"] == CLIENTS and row["rows"] >= 32:
            report.check(
                f"{row['model']} by {row['rows']} rows is at least 90 % as fast as the loop",
                row["ratio"] >= 0.9 and not row["faults"],
                f"{row['server']:.0f} of {row['loop']:.0f} rows/s, {row['ratio']:.2f}",
            )


def gauge(report, program, folder, device):
    path = save(folder / "gauge", "cnn")
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
    table = []
    with Server(program, path, device=device) as server:
        for label, rows, clients in (("idle", 0, 0), ("light", 1, 1), ("heavy", MOST_ROWS, CLIENTS)):
            ended = threading.Event()
            gauges, theirs = [], []

            def watch():
                while not ended.wait(0.5):
                    gauges.append(server.metric("gpu_utilization_percent"))
                    text = subprocess.run(query, capture_output=True, text=True).stdout
                    theirs.append(float(text.split()[0]) if text.strip() else None)

            watcher = threading.Thread(target=watch)
            if clients:
                worker = threading.Thread(target=load, args=(server.address, random_inputs("cnn", rows), clients, 7.0))
                worker.start()
                # What both show is a mean over the second before.
                time.sleep(2.0)
            watcher.start()
            time.sleep(4.0)
            ended.set()
            watcher.join()
            if clients:
                worker.join()
            known = [number for number in gauges if number is not None]
            mean = lambda numbers: sum(numbers) / len(numbers) if numbers else None
            ours, other = mean(known), mean([number for number in theirs if number is not None])
            table.append({"load": label, "gauge": ours, "nvidia_smi": other})
            holds = ours is not None and other is not None and abs(ours - other) <= 15
            report.check(f"the gauge says what nvidia-smi says, {label}", holds, f"{ours} and {other}")
        if table[2]["gauge"] is not None:
            report.check("a heavy load shows", table[2]["gauge"] > max(20, table[0]["gauge"] or 0), table[2]["gauge"])
    report.tables["gauge"] = table


def memory(report, program, folder, device):
    path = save(folder / "memory", "greedy")
    rows = lambda width, count=1: [("x", "FP32", numpy.full((count, width), 0.25, dtype=numpy.float32))]
    context = multiprocessing.get_context("spawn")
    taken, done = context.Event(), context.Event()
    # The program's own context and libraries take about one of these.
    other = context.Process(target=take_memory, args=(6 << 30, taken, done))
    other.start()
    taken.wait(120)
    with Server(program, path, "--warmup-iterations=1", device=device) as server:
        before = server.metric("inference_max_batch_size")
        # Half a GiB a row: a few find memory together, all do not.
        found = load(server.address, rows(32), 32, 2.0)
        shortages = server.metric("inference_out_of_memory_total")
        after = server.metric("inference_max_batch_size")
        report.check("batches that find no memory are counted", shortages > 0, f"{shortages:.0f}")
        report.check("later batches are smaller", after < before, f"{before:.0f} before, {after:.0f} after")
        status, _ = server.infer(rows(1024))
        report.check("a row that finds no memory is refused", status == 503, f"{status}")
        live, why = server.get("/v2/health/live")
        report.check("a lack of memory does not make it dead", live == 200, f"{live} {why}")
        status, answer = server.infer(rows(4))
        report.check("a small row is answered meanwhile", status == 200 and abs(float(answer["sum"][0, 0]) - 5) < 0.01, f"{status}")
        done.set()
        other.join()
        status, answer = server.infer(rows(512))
        correct = status == 200 and abs(float(answer["sum"][0, 0]) / 640 - 1) < 0.01
        report.check("with memory again a large row is answered", correct, f"{status}")
        table = {"max_batch_size_before": before, "max_batch_size_after": after, "shortages": shortages}
        report.tables["memory"] = [{**table, "answered_per_second": found["per_second"], "faults": found["faults"]}]
    report.check("after a lack of memory the program ends with 0", server.code == 0, server.code)


def assertion(report, program, folder, device):
    path = save(folder / "assertion", "lookup")
    good = random_inputs("lookup", 2)
    bad = [("ids", "INT64", numpy.full((1, 16), 1_000_000, dtype=numpy.int64))]
    with Server(program, path, device=device) as server:
        report.check("a lookup is answered", server.infer(good)[0] == 200, "200")
        status, text = server.infer(bad)
        report.check("what makes the device fail is refused", status in (500, 503), f"{status} {str(text)[:200]}")
        live, why = server.get("/v2/health/live")
        report.check("a device that failed makes it dead", live == 503 and "device" in why, f"{live} {why}")
        series = f'model_failed{{model="{NAME}",reason="device_lost",version="1"}}'
        report.check("the metric says so", server.metric(series) == 1, server.metric(series))
        began = time.monotonic()
        status, text = server.infer(good)
        took = time.monotonic() - began
        report.check("later requests are refused at once", status == 503 and took < 2, f"{status} after {took:.2f} s")
    report.check("with a failed device the program ends with 0", server.code == 0, server.code)


STEPS = {"parity": parity, "throughput": throughput, "gauge": gauge, "memory": memory, "assertion": assertion}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parent / "model-server"))
    parser.add_argument("--report", default=".")
    parser.add_argument("--device", default="cuda", help="cpu tries the script itself, where there is no GPU")
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS])
    asked = parser.parse_args()
    if torch is None:
        return unavailable("expected Python with PyTorch, found none")
    if asked.device == "cuda" and not on_its_own(torch.cuda.is_available):
        return unavailable("expected a GPU, found none that PyTorch can use")
    report, began, text = Report(), time.monotonic(), ""
    about = on_its_own(describe)
    print(json.dumps(about), flush=True)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.steps or STEPS:
            started = time.monotonic()
            if started - began > MOST_SECONDS:
                report.check(f"there is time for {name}", False, f"{started - began:.0f} s are over")
                continue
            (pathlib.Path(folder) / name).mkdir()
            print(f"--- {name}", flush=True)
            try:
                STEPS[name](report, asked.program, pathlib.Path(folder), asked.device)
            except Exception as error:
                traceback.print_exc()
                report.check(f"{name} runs to its end", False, repr(error))
            seconds[name] = round(time.monotonic() - started, 1)
            # After each step: who is cut off has what there is.
            text = write(asked.report, {"machine": about, "seconds": seconds, "checks": report.checks, "tables": report.tables})
    print(text)
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if all(check["passed"] for check in report.checks) else 1


def write(folder, result):
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "report.json").write_text(json.dumps(result, indent=1))
    text = written(result)
    (target / "report.txt").write_text(text)
    return text


def describe():
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {"gpu": gpu, "torch": torch.__version__, "cuda": torch.version.cuda, "cpus": os.cpu_count()}


def written(result):
    lines = [json.dumps(result["machine"]), ""]
    for check in result["checks"]:
        lines.append(f"{'ok  ' if check['passed'] else 'FAIL'} {check['check']}: {check['found']}")
    if rows := result["tables"].get("throughput"):
        lines += ["", f"{'model':12} {'rows':>5} {'clients':>7} {'loop rows/s':>12} {'ours rows/s':>12} {'ratio':>6} {'p50 ms':>8} {'p99 ms':>8}"]
        for row in rows:
            p50, p99 = (row[key] if row[key] is not None else float("nan") for key in ("p50_ms", "p99_ms"))
            lines.append(f"{row['model']:12} {row['rows']:5} {row['clients']:7} {row['loop']:12.0f} {row['server']:12.0f} "
                         f"{row['ratio']:6.2f} {p50:8.2f} {p99:8.2f}")  # fmt: skip
        lines.append("The loop of 64 clients is that of 32 rows.")
    for name in ("gauge", "memory"):
        for row in result["tables"].get(name, []):
            lines.append(f"{name}: {json.dumps(row)}")
    lines += ["", f"seconds: {json.dumps(result['seconds'])}"]
    return "\n".join(lines) + "\n"


def unavailable(why):
    print(f"check.py: {why}; nothing was checked", file=sys.stderr)
    return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
