"""The limits on connections and on what requests hold, and clients that come
before the node is ready."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import processes
import wire
import world
from wire import frame, header
from world import expect, expect_equal, wait_for


def new_cluster():
    return world.Cluster(nodes=1)


@contextlib.contextmanager
def _cluster(config, nodes=1, prepare=None):
    cluster = world.Cluster(nodes, prepare, config)
    try:
        yield cluster
        cluster.verify()
    finally:
        cluster.close()


def _ask(c):
    """Sends a request without waiting for its answer."""
    c.post(wire.API_VERSIONS, 0, b"")
    c.owed = True


def _ask_in_vain(c):
    with contextlib.suppress(wire.Closed):
        _ask(c)


def _answered(c, seconds):
    """True if an answer comes in time, False if nothing does."""
    c.socket.settimeout(seconds)
    try:
        c.answer()
        c.owed = False
        return True
    except TimeoutError:
        return False


def _use(c):
    """Takes an answer that is still to come, and another one."""
    expect(not getattr(c, "owed", False) or _answered(c, 30), "no answer")
    c.socket.settimeout(30)
    c.api_versions()


def _closed_after(c, most):
    """Seconds until the server closes."""
    began = time.monotonic()
    c.socket.settimeout(most)
    try:
        expect(c.closes(), "an answer instead of the end")
    except TimeoutError:
        raise world.Failure("still open after %d s" % most)
    return time.monotonic() - began


def _connect_from(cluster, source):
    c = wire.Connection.__new__(wire.Connection)
    c.socket = socket.create_connection(("127.0.0.1", cluster.port), 30,
                                        (source, 0))
    c.correlation = 0
    return c


# ---- idle connections -------------------------------------------------------


def idle_connections_are_closed_and_only_they(cluster):
    with _cluster("connections.max.idle.ms=1500") as cluster, \
            contextlib.ExitStack() as stack:
        def connect():
            return stack.enter_context(cluster.connect())
        cluster.create("idle")
        silent, asked, waiting = [connect() for _ in range(3)]
        asked.api_versions()
        waiting.post(wire.FETCH, 4, wire.fetch_body("idle", 0, 0, 5000, 1))
        took = _closed_after(silent, 10)
        expect(took > 1, "closed after", took, "s")
        expect(_closed_after(asked, 10) < 2, "the second was not closed")
        request = frame(header(wire.METADATA, 1) + struct.pack(">i", -1))
        slow = connect()
        for byte in request:
            slow.send(bytes([byte]))
            time.sleep(0.15)
        slow.answer()
        waiting.answer()
        waiting.api_versions()


def many_idle_connections_are_closed_and_others_served(cluster):
    with _cluster("connections.max.idle.ms=3000") as cluster:
        before = cluster.open_files(1)
        idle = [cluster.connect() for _ in range(600)]
        with cluster.connect() as c:
            deadline = time.monotonic() + 30
            while cluster.open_files(1) > before + 3:
                c.api_versions()
                expect(time.monotonic() < deadline, "they stay open")
                time.sleep(0.05)
        for c in idle:
            c.close()


# ---- how many connections ---------------------------------------------------


def connections_beyond_max_connections_wait(cluster):
    with _cluster("max.connections=20 num.network.threads=3") as cluster:
        held = [cluster.connect() for _ in range(20)]
        for c in held:
            c.api_versions()
        files = cluster.open_files(1)
        late = [cluster.connect() for _ in range(2)]
        for c in late:
            _ask(c)
        for c in late:
            expect(not _answered(c, 1), "connection 21 was served")
        expect_equal(cluster.open_files(1), files, "open files")
        for c in held:
            c.api_versions()
        held.pop().close()
        wait_for("one of the two", lambda: any(_answered(c, 0.1)
                                               for c in late))
        held.pop().reset()
        held.pop().close()
        for c in late:
            _use(c)
        for c in held + late:
            c.close()


def _two_listeners(cluster):
    where = "CLIENTS://127.0.0.1:%d,BROKERS://127.0.0.1:%d" % (
        cluster.port, cluster.port + 1)
    cluster.environment["LEAT_CONFIG"] += (
        " listeners=%s,CONTROLLER://127.0.0.1:%d advertised.listeners=%s"
        " inter.broker.listener.name=BROKERS"
        " listener.security.protocol.map=CLIENTS:PLAINTEXT,"
        "BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT" % (
            where, cluster.port + 10000, where))


def brokers_take_the_place_of_the_oldest_client(cluster):
    for threads in 1, 3:
        with _cluster("max.connections=5 num.network.threads=%d" % threads,
                      prepare=_two_listeners) as cluster:
            clients = [cluster.connect() for _ in range(5)]
            for c in clients[1:] + clients[:1]:
                c.api_versions()
            for i in range(2):
                with cluster.connect(2) as broker:
                    broker.api_versions()
                    gone = wait_for(
                        "the end of a client",
                        lambda: [c for c in clients if _is_closed(c)])
                    expect_equal(len(gone), 1, "closed clients")
                    if threads == 1:
                        expect(gone[0] is clients[1 if i == 0 else 0],
                               "not the one least recently used")
                    clients.remove(gone[0])
                    for c in clients:
                        _use(c)
                    late = cluster.connect()
                    _ask(late)
                    expect(not _answered(late, 0.5), "too many clients")
                # The broker's place is free again.
                expect(_answered(late, 10), "it waits for ever")
                clients.append(late)
            for c in clients:
                c.close()


OWN = " listener.name.%s.max.connections=%d"


def _limited(clients, brokers):
    """Two listeners with limits of their own."""
    def prepare(cluster):
        _two_listeners(cluster)
        cluster.environment["LEAT_CONFIG"] += OWN % ("clients", clients) + \
            OWN % ("brokers", brokers)
    return prepare


def one_listener_is_full_and_the_other_is_not(cluster):
    # The node itself needs the listener between brokers, too.
    for threads in 1, 3:
        with _cluster("num.network.threads=%d" % threads,
                      prepare=_limited(3, 1000)) as cluster, \
                contextlib.ExitStack() as stack:
            def connect(offset=1):
                return stack.enter_context(cluster.connect(offset))
            held = [connect() for _ in range(3)]
            for c in held:
                c.api_versions()
            late = [connect() for _ in range(2)]
            for c in late:
                _ask(c)
                expect(not _answered(c, 0.5), "connection 4 was served")
            for _ in range(10):
                connect(2).api_versions()
            expect(cluster.log_has(1, "listener.name.clients.max.connections "
                                      "is reached"), "no word of it")
            held.pop().close()
            wait_for("one of the two", lambda: any(_answered(c, 0.1)
                                                   for c in late))
            held.pop().close()
            for c in late:
                _use(c)


def the_listener_between_brokers_is_limited_only_by_its_own_limit(cluster):
    with _cluster("max.connections=5 num.network.threads=2",
                  prepare=_limited(1000, 20)) as cluster, \
            contextlib.ExitStack() as stack:
        def connect(offset):
            return stack.enter_context(cluster.connect(offset))
        served = []
        while len(served) < 30:
            c = connect(2)
            _ask(c)
            if not _answered(c, 1):
                break
            served.append(c)
        # What the node has there itself counts, too.
        expect(10 <= len(served) <= 20, "brokers have", len(served))
        client = connect(1)
        _ask(client)
        expect(not _answered(client, 0.5), "too many connections of all")
        served.pop().close()
        expect(_answered(c, 10), "it waits for ever")


def _configure(cluster, setting):
    """By way of the other listener."""
    done = subprocess.run(
        [os.path.join(world.BUILD, "cli", "leat"), "kafka-configs",
         "--bootstrap-server", "127.0.0.1:%d" % (cluster.port + 1), "--alter",
         "--entity-type", "brokers", "--entity-name", "1", "--add-config",
         setting], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60)
    expect(done.returncode == 0, "kafka-configs:", done.stdout)


def limits_of_a_listener_change_while_the_node_runs(cluster):
    key = "listener.name.clients.max.connections="
    with _cluster("num.network.threads=3",
                  prepare=_two_listeners) as cluster, \
            contextlib.ExitStack() as stack:
        def connect():
            return stack.enter_context(cluster.connect())

        def full():
            c = connect()
            _ask(c)
            return c if not _answered(c, 0.5) else None

        held = [connect() for _ in range(3)]
        for c in held:
            c.api_versions()
        _configure(cluster, key + "3")
        late = wait_for("the limit", full)
        for c in held:
            c.api_versions()
        _configure(cluster, key + "1000")
        expect(_answered(late, 10), "it waits for ever")


def connections_beyond_the_rate_of_a_listener_wait(cluster):
    def prepare(cluster):
        _two_listeners(cluster)
        cluster.environment["LEAT_CONFIG"] += \
            " listener.name.clients.max.connection.creation.rate=5"
    with _cluster("num.network.threads=3", prepare=prepare) as cluster, \
            contextlib.ExitStack() as stack:
        time.sleep(1.2)  # starting took some of the rate
        began = time.monotonic()
        guests = [stack.enter_context(cluster.connect()) for _ in range(20)]
        for c in guests:
            _ask(c)
        for _ in range(20):  # of the other listener nothing is taken
            stack.enter_context(cluster.connect(2)).api_versions()
        others = time.monotonic() - began
        for c in guests:
            _use(c)
        took = time.monotonic() - began
        # Five at once, fifteen more at five a second.
        expect(2.8 < took < 8, "it took", took, "s")
        expect(others < 2.8, "the other listener took", others, "s")


def _is_closed(c):
    c.socket.settimeout(0.02)
    try:
        return c.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def connections_of_one_address_are_limited(cluster):
    with _cluster("max.connections.per.ip=3 num.network.threads=3 "
                  "max.connections.per.ip.overrides="
                  "localhost:1000,127.0.0.2:1,127.0.0.4:0") as cluster:
        for source, most in ("127.0.0.3", 3), ("127.0.0.2", 1):
            for _ in range(3):
                # The server hears of an end a moment later.
                held = [wait_for("room for " + source,
                                 lambda: _served_from(cluster, source))
                        for _ in range(most)]
                for _ in range(4):
                    with _connect_from(cluster, source) as c:
                        _closed_after(c, 10)
                for c in held:
                    c.api_versions()
                for c in held:
                    c.close()
        with _connect_from(cluster, "127.0.0.4") as c:
            _closed_after(c, 10)


def _served_from(cluster, source):
    c = _connect_from(cluster, source)
    c.api_versions()
    return c


def connections_beyond_the_rate_wait(cluster):
    with _cluster("max.connection.creation.rate=5 "
                  "num.network.threads=3") as cluster:
        time.sleep(1.2)  # starting took some of the rate
        began = time.monotonic()
        guests = [cluster.connect() for _ in range(20)]
        for c in guests:
            _ask(c)
        expect(any(_answered(c, 0.02) for c in guests[:10]),
               "nobody is served at once")
        for c in guests:
            _use(c)
        took = time.monotonic() - began
        # Five at once, fifteen more at five a second.
        expect(2.8 < took < 8, "it took", took, "s")
        for c in guests:
            c.close()


# ---- how many bytes ---------------------------------------------------------

SMALL_QUEUE = ("socket.request.max.bytes=1000000 num.network.threads=1 "
               "queued.max.request.bytes=4000000")


def _big_request():
    """Is answered with an error, for want of such a topic."""
    return frame(header(wire.PRODUCE, 3) + wire.produce_body(
        "no-such-topic", 0, bytes(900000)))


def half_requests_do_not_fill_the_memory(cluster):
    with _cluster(SMALL_QUEUE) as cluster:
        before = cluster.memory_mb(1)
        request, sent = _big_request(), []
        guests = [cluster.connect() for _ in range(80)]
        for c in guests:
            c.socket.setblocking(False)
            sent.append(0)
        quiet = 0
        while quiet < 10:
            moved = 0
            for i, c in enumerate(guests):
                with contextlib.suppress(BlockingIOError):
                    n = c.socket.send(request[sent[i]:-1])
                    sent[i] += n
                    moved += n
            quiet = 0 if moved else quiet + 1
            time.sleep(0.02)
        grown = cluster.memory_mb(1) - before
        expect(grown < 20, "the server took", grown, "MB")
        with cluster.connect() as c:
            _ask(c)
            expect(not _answered(c, 1), "it reads though there is no room")
            # Half of them give up; the rest are finished and answered.
            for g in guests[::2]:
                g.close()
            threads = []
            for i, g in list(enumerate(guests))[1::2]:
                g.socket.settimeout(60)
                threads.append(threading.Thread(
                    target=g.socket.sendall, args=(request[sent[i]:],)))
                threads[-1].start()
            for t in threads:
                t.join()
            for g in guests[1::2]:
                g.answer()
                g.close()
            expect(_answered(c, 30), "it never reads again")


def produces_that_wait_for_followers_leave_room(cluster):
    with _cluster(SMALL_QUEUE, nodes=3) as cluster:
        cluster.create("waiting")
        leader = cluster.leader("waiting")
        cluster.wait_isr("waiting", [1, 2, 3])
        others = [p for i, p in enumerate(cluster.pids(), 1) if i != leader]
        records = wire.batch([bytes(900000)])
        guests = [cluster.connect(leader) for _ in range(10)]
        for p in others:
            processes.stop(p)
        try:
            for c in guests:
                c.post(wire.PRODUCE, 3, wire.produce_body(
                    "waiting", 0, records, timeout_ms=60000))
            with cluster.connect(leader) as c:
                _ask(c)
                expect(_answered(c, 5), "there is no room for others")
            expect(not _answered(guests[0], 0.5),
                   "it was acknowledged without followers")
        finally:
            for p in others:
                os.kill(p, signal.SIGCONT)
        for c in guests:
            c.socket.settimeout(60)
            c.answer()
            c.close()


def _mentions(topic, times, wait_ms):
    """A fetch that names one partition many times."""
    return struct.pack(">iiiib", -1, wait_ms, 1, 50 << 20, 0) + wire.array(
        [wire.string(topic) + wire.array(
            [struct.pack(">iqi", 0, 0, 1 << 20)] * times)])


def fetches_that_wait_leave_room(cluster):
    with _cluster(SMALL_QUEUE, nodes=3) as cluster:
        cluster.create("waiting")
        leader = cluster.leader("waiting")
        cluster.wait_isr("waiting", [1, 2, 3])
        with cluster.connect(leader) as guest, cluster.connect(leader) as c:
            for _ in range(63):
                guest.post(wire.FETCH, 4, _mentions("waiting", 20000,
                                                    2**31 - 1))
            _ask(c)
            expect(_answered(c, 10), "there is no room for others")
            # That needs the followers' fetches, too.
            cluster.produce("waiting", [b"news"])
            for _ in range(63):
                guest.answer()


def answers_behind_a_fetch_that_waits_leave_room(cluster):
    with _cluster(SMALL_QUEUE) as cluster:
        cluster.create("waiting")
        with cluster.connect() as guest, cluster.connect() as c:
            guest.post(wire.FETCH, 4, _mentions("waiting", 1, 2**31 - 1))
            for _ in range(20):
                guest.post(wire.FETCH, 4, _mentions("no-such-topic", 20000, 0))
            _ask(c)
            expect(_answered(c, 10), "there is no room for others")
            cluster.produce("waiting", [b"news"])
            for _ in range(21):
                guest.answer()


# ---- before the node is ready -----------------------------------------------


def early_clients_are_served_when_the_node_is_ready(cluster):
    with _cluster("num.network.threads=3", nodes=3) as cluster:
        for node in 1, 2, 3:
            cluster.kill(node)
        for node in 1, 2, 3:
            cluster.mark_log(node)
        cluster.script("start", "1")
        guests = []
        for _ in range(30):
            guests.append(wait_for("the port", cluster.connect))
            _ask(guests[-1])
        expect(not _answered(guests[0], 0.2), "there is no quorum")
        expect(not cluster.log_has(1, "is ready"), "there is no quorum")
        cluster.script("start", "2")
        for c in guests:
            expect(_answered(c, 20), "never answered")
            c.close()
        cluster.script("start", "3")


def clients_of_a_node_that_does_not_become_ready_are_sent_away(cluster):
    with _cluster("num.network.threads=3", nodes=3) as cluster:
        for node in 1, 2, 3:
            cluster.kill(node)
        cluster.mark_log(1)
        cluster.script("start", "1")
        early = [wait_for("the port", cluster.connect) for _ in range(10)]
        for c in early:
            _ask(c)
        took = _closed_after(early[0], 12)
        expect(took > 2, "closed after", took, "s already")
        for c in early[1:]:
            expect(_closed_after(c, 2) < 1, "the others wait on")
        expect(cluster.log_has(1, "Not ready after"), "no word of it")
        for _ in range(10):
            # The reset may come before connect() has returned.
            with contextlib.suppress(ConnectionResetError):
                with cluster.connect() as c:
                    _ask_in_vain(c)
                    expect(_closed_after(c, 5) < 1, "it holds clients up")
            # Clients take a mere end for an accident and come back.
            with contextlib.suppress(ConnectionResetError):
                with cluster.connect() as c:
                    expect(c.socket.recv(1) == b"x", "no reset")
        cluster.script("start", "2")
        cluster.script("start", "3")
        for node in 1, 2, 3:
            wait_for("node %d" % node,
                     lambda: cluster.log_has(node, "is ready"))
