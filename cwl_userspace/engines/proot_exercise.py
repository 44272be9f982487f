"""What a proot is put through before it is trusted with its acceleration: see proot_probe.

The script runs in an interpreter without any of its options, once with this proot and once
without, and must print the same: DIRECTORY is a private directory, OTHER a place where the same
directory is to be seen.
"""

EXERCISE = """
import os, signal, sys, threading
place, seen = sys.argv[1:]
said = []
def files(number, where=seen):
    total = 0
    for i in range(60):
        name = "%s/%d-%d" % (where, number, i)
        with open(name, "w") as file:
            file.write("x" * i)
        total += os.stat(name).st_size + os.access(name, os.R_OK)
        os.rename(name, name + ".new")
        try:
            os.stat(name)
        except FileNotFoundError:
            total += 1
        with open(name + ".new") as file:
            total += len(file.read())
        os.unlink(name + ".new")
    return total
said.append(files(0))
os.mkdir(seen + "/sub")
os.symlink("../sub", seen + "/sub/link")
os.chdir(seen + "/sub/link")
said.append(os.getcwd() == seen + "/sub" and os.readlink("link"))
os.chdir("/")
children = []
for number in range(1, 5):
    pid = os.fork()
    if pid == 0:
        os._exit(files(number) % 200)
    children.append(pid)
said.append(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        os.kill(os.getppid(), signal.SIGUSR1)
        os._exit(3)
    os.stat(seen)
    said.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
said.append(len(got) > 0)
pid = os.fork()
if pid == 0:
    signal.pause()
os.kill(pid, signal.SIGKILL)
said.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
counts = []
threads = [threading.Thread(target=lambda n=n: counts.append(files(n))) for n in range(5, 9)]
for thread in threads: thread.start()
for thread in threads: thread.join()
said.append(counts)
for status in (0, 7):
    code = "import os, sys; os.stat(sys.argv[1]); sys.exit(%d)" % status
    words = [sys.executable, "-I", "-S", "-c", code, seen]
    said.append(os.spawnv(os.P_WAIT, words[0], words))
with os.popen("echo through a shell") as pipe:
    said.append(pipe.read())
said.append(sorted(os.listdir(seen)))
os.unlink(seen + "/sub/link")
os.rmdir(seen + "/sub")
print(said)
"""

# Seconds for a thousand calls that name a file, and for as many that name none.
LOOP = """
import os, time
null = os.open("/dev/null", os.O_WRONLY)
def took(call, *words):
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(200):
            call(*words)
        best = min(best, time.perf_counter() - start)
    return best * 5
print(took(os.stat, "/"), took(os.write, null, b"x"))
"""
