package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespace is a network and a set of mounts that only this test process has:
// it has no name and no place in the file system. It lives as long as its
// thread, the file that holds it open, and the processes in it, and those are
// killed with the thread. So nothing is left of it, however the test ends.
type namespace struct {
	file *os.File // of the network namespace
	jobs chan func()
	done chan struct{} // closed when the thread has ended
}

// newNamespace starts a thread in namespaces of its own.
func newNamespace() (*namespace, error) {
	n := &namespace{jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(n.done)
		runtime.LockOSThread() // never unlocked, so that the thread ends with this goroutine
		err := n.enter()
		ready <- err
		if err != nil {
			return
		}
		for job := range n.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("a network namespace cannot be made: %w; tier 3 needs Linux and root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): run it as root", err)
	}
	return n, nil
}

// enter takes the calling thread to new namespaces.
func (n *namespace) enter() error {
	// Threads share their mounts and their working directory until CLONE_FS.
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	// What is mounted here must not be seen by others.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	var err error
	n.file, err = os.Open("/proc/thread-self/ns/net")
	return err
}

// do calls f on the namespace's thread: the sockets that f opens and the
// processes that it starts belong to the namespace.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.jobs <- func() {
		defer close(done)
		f()
	}
	<-done
}

// close ends the thread, and with it the processes in the namespace.
func (n *namespace) close() {
	close(n.jobs)
	<-n.done
	_ = n.file.Close()
}

// path names the network namespace to other programs while they are run by
// this process.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// start starts a command in the namespace. It is killed when the namespace, or
// this process, ends.
func (n *namespace) start(cmd *exec.Cmd) (err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	n.do(func() { err = cmd.Start() })
	return err
}

// run runs a command in the namespace to its end.
func (n *namespace) run(name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("tier 3 needs the program %s: install %s (on Debian: apt-get install %[2]s)", name, packageOf(name))
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...) //nolint:noctx // these programs end by themselves, at once
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = n.start(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// packageOf returns the Debian package of a program.
func packageOf(program string) string {
	return map[string]string{"ip": "iproute2", "mkfs.ext4": "e2fsprogs", "mount": "mount"}[program]
}

// forward has the namespace pass on packets between its devices.
func (n *namespace) forward() (err error) {
	n.do(func() { err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	return err
}

// mountImage makes a file system of that many bytes in a new file, and mounts
// it by a loop device at dir, for this namespace only. The device goes with
// the mount.
func (n *namespace) mountImage(image, dir string, size int64) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	if err := n.run("mkfs.ext4", "-q", "-m", "0", image); err != nil {
		return err
	}
	if err := n.run("mount", "-o", "loop", image, dir); err != nil {
		return fmt.Errorf("%w; tier 3 needs loop devices: load the kernel's module loop, or let this container have /dev/loop-control", err)
	}
	return nil
}

// fill makes a file that takes all that is left of the file system which it is
// in.
func (n *namespace) fill(path string) (err error) {
	n.do(func() {
		var f *os.File
		if f, err = os.Create(path); err != nil {
			return
		}
		at := int64(0)
		for size := int64(1 << 30); size >= 512 && err == nil; {
			switch err = unix.Fallocate(int(f.Fd()), 0, at, size); {
			case err == nil:
				at += size
			case errors.Is(err, unix.ENOSPC):
				size, err = size/2, nil
			}
		}
		err = errors.Join(err, f.Sync(), f.Close())
	})
	return err
}

// remove removes a file as the namespace sees it.
func (n *namespace) remove(path string) (err error) {
	n.do(func() { err = os.Remove(path) })
	return err
}

// pause stops a process, and resume lets it go on.
func pause(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
