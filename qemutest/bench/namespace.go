package main

// A network namespace of the bench's own: the command starts itself again in a
// new one. It has no name and no owner but its processes, so whatever ends them
// cleans it up.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// planVariable hands the plan to the process in the namespace.
const planVariable = "SLUICE_BENCH_PLAN"

// errNoNamespace says that this user or machine gives no namespace.
var errNoNamespace = errors.New("no network namespace")

// exitStatus is that of the process in the namespace, which has said why.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("status %d", int(s)) }

// inherited returns the plan of the process that made this namespace.
func inherited() (plan, bool) {
	text, ok := os.LookupEnv(planVariable)
	if !ok {
		return plan{}, false
	}
	os.Unsetenv(planVariable)
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return plan{}, false
	}
	return p, true
}

// inNamespace carries a plan out in a new network namespace: with one of users
// around it, in which this user is root, where that is needed.
func inNamespace(ctx context.Context, p plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for _, flags := range []uintptr{syscall.CLONE_NEWNET, syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER} {
		cmd := exec.CommandContext(ctx, "/proc/self/exe")
		cmd.Env = append(os.Environ(), planVariable+"="+string(text))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 10 * time.Second
		if err := cmd.Start(); err != nil {
			continue // refused: EPERM, ENOSPC or EINVAL, by what the machine allows
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Exited() {
			return exitStatus(exit.ExitCode())
		}
		return err
	}
	return errNoNamespace
}
