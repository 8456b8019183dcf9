package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/roost-mail/roost/config"
)

// A pid file holds a lock for as long as its process lives. The kernel says who
// has the lock, so that what an old file says is never believed.

// lockPIDFile writes the file, and locks it until the process ends or the file
// is closed. Another process that has it is an error.
func lockPIDFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("%s: another process is running with it", path)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// errNotRunning: nobody has the pid file.
var errNotRunning = errors.New("no server is running with it")

// pidOf is the process that has locked the file.
func pidOf(path string) (int, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w", path, errNotRunning)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if lock.Type == unix.F_UNLCK || lock.Pid <= 0 {
		return 0, fmt.Errorf("%s: %w", path, errNotRunning)
	}
	return int(lock.Pid), nil
}

// signalPIDFile sends a signal to the process that has the file. That it is
// still the same one is looked at once more when a handle of it is held.
func signalPIDFile(path string, sig syscall.Signal) (int, error) {
	pid, err := pidOf(path)
	if err != nil {
		return 0, err
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return 0, err
	}
	defer func() { _ = process.Release() }()
	again, err := pidOf(path)
	if err != nil {
		return 0, err
	}
	if again != pid {
		return 0, fmt.Errorf("%s: its process is being replaced", path)
	}
	return pid, process.Signal(sig)
}

func reloadCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "reload -c FILE",
		Short: "Have the running server read its configuration again",
		Long: `Checks FILE, and if it has no errors tells the server that runs with its admin
socket, or else its pid_file, to read it again, as SIGHUP does. Certificates, users, namespaces and other settings
hold for connections and logins from then on; no session is ended. What needs a
restart is named by a warning in the server's log.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{fmt.Errorf("reload needs -c FILE")}
			}
			if !config.Check(cmd.OutOrStdout(), file, checkFiles) {
				return errSaid
			}
			set, _, err := config.Load(file)
			if err != nil {
				return err
			}
			if ok, err := reloadByAPI(cmd.Context(), set, cmd.OutOrStdout()); ok || err != nil {
				return err
			}
			if set.General.PIDFile == "" {
				return fmt.Errorf("%s: there is no server at its admin socket, and pid_file is not set: send SIGHUP to the server, as systemctl reload does", file)
			}
			pid, err := signalPIDFile(set.General.PIDFile, syscall.SIGHUP)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "process %d reads it again; its log says how that went\n", pid)
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	return cmd
}
