package dist

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// service stands in for systemd, which can't run in a test: it runs roost.service as
// its unit says. Of the unit it knows ExecStart, ExecReload, Type=notify, Restart=on-failure,
// RestartSec, TimeoutStopSec, User, UMask, Environment, and the directories. What the unit
// forbids Roost is not tested by it.
type service struct {
	mu      sync.Mutex // guards what follows
	process *exec.Cmd  // nil while it does not run
	ended   chan struct{}
	wanted  bool
}

// Files of a machine.
const (
	machineSocket = "/run/machine.sock"
	unitFile      = "/usr/lib/systemd/system/roost.service"
	notifySocket  = "/run/notify.sock"
	journal       = "/run/journal"
)

// said is what systemctl prints, and its exit code.
type said struct {
	Text string
	Code int
}

func systemctlMain(args []string) int {
	conn, err := net.Dial("unix", machineSocket)
	if err == nil {
		err = json.NewEncoder(conn).Encode(args)
	}
	var s said
	if err == nil {
		err = json.NewDecoder(conn).Decode(&s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemctl:", err)
		return 1
	}
	fmt.Print(s.Text)
	return s.Code
}

// do is a call of systemctl.
func (s *service) do(args []string) said {
	var words []string
	flags := map[string]bool{}
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			flags[a] = true
		} else if a != "roost" && a != "roost.service" {
			words = append(words, a)
		}
	}
	wait := !flags["--no-block"]
	var err error
	switch verb := strings.Join(words, " "); verb {
	case "daemon-reload":
	case "enable", "disable":
		switch {
		case flags["--now"] && verb == "enable":
			err = s.start(wait)
		case flags["--now"]:
			err = s.stop()
		}
	case "start":
		err = s.start(wait)
	case "stop":
		err = s.stop()
	case "restart":
		if err = s.stop(); err == nil {
			err = s.start(wait)
		}
	case "reload":
		return s.reload()
	case "is-active":
		if s.running() == nil {
			return said{"inactive\n", 3}
		}
	case "kill":
		sig := syscall.SIGTERM
		if flags["--signal=KILL"] {
			sig = syscall.SIGKILL
		}
		err = s.signal(sig)
	default:
		err = fmt.Errorf("nothing here stands in for systemctl %s", strings.Join(args, " "))
	}
	if err != nil {
		return said{err.Error() + "\n", 1}
	}
	return said{}
}

func (s *service) running() *exec.Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// start returns when Roost says that it is ready or, without wait, at once.
func (s *service) start(wait bool) error {
	if s.running() != nil {
		return nil
	}
	u, err := readUnit(unitFile)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.wanted = true
	s.mu.Unlock()
	ready, err := s.run(u)
	if err != nil || !wait {
		return err
	}
	if !<-ready {
		return errors.New("Job for roost.service failed because the control process exited with error code.\nSee \"systemctl status roost.service\" and \"journalctl -xeu roost.service\" for details.")
	}
	return nil
}

// run starts the process. ready tells whether it became ready, or ended before.
func (s *service) run(u unit) (ready <-chan bool, err error) {
	cmd, err := u.command()
	if err != nil {
		return nil, err
	}
	_ = os.Remove(notifySocket)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifySocket, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(notifySocket, 0o777); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended, became := make(chan struct{}), make(chan bool, 2)
	s.mu.Lock()
	s.process, s.ended = cmd, ended
	s.mu.Unlock()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				return
			}
			if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
				became <- true
			}
		}
	}()
	go func() {
		err := cmd.Wait()
		_ = notify.Close()
		s.mu.Lock()
		s.process = nil
		again := s.wanted && err != nil
		s.mu.Unlock()
		close(ended)
		became <- false
		if again {
			time.Sleep(u.seconds("RestartSec"))
			if s.stillWanted() {
				_, _ = s.run(u)
			}
		}
	}()
	return became, nil
}

func (s *service) stillWanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}

func (s *service) stop() error {
	s.mu.Lock()
	s.wanted = false
	process, ended := s.process, s.ended
	s.mu.Unlock()
	if process == nil {
		return nil
	}
	u, err := readUnit(unitFile)
	if err != nil {
		return err
	}
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-time.After(u.seconds("TimeoutStopSec")):
		_ = process.Process.Kill()
		return errors.New("roost.service: it did not end by itself")
	}
}

func (s *service) signal(sig syscall.Signal) error {
	if p := s.running(); p != nil {
		return p.Process.Signal(sig)
	}
	return errors.New("Failed to kill unit roost.service: Unit roost.service not loaded.")
}

func (s *service) reload() said {
	p := s.running()
	if p == nil {
		return said{"roost.service is not active, cannot reload.\n", 1}
	}
	u, err := readUnit(unitFile)
	if err != nil {
		return said{err.Error() + "\n", 1}
	}
	for _, line := range u["ExecReload"] {
		words := strings.Fields(strings.ReplaceAll(line, "$MAINPID", strconv.Itoa(p.Process.Pid)))
		if err := u.as(exec.Command(words[0], words[1:]...)); err != nil {
			return said{"Job for roost.service failed.\nSee \"systemctl status roost.service\" and \"journalctl -xeu roost.service\" for details.\n", 1}
		}
	}
	return said{}
}

// unit is what a unit file says, by setting.
type unit map[string][]string

func readUnit(path string) (unit, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	u := unit{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, is := strings.Cut(lines.Text(), "="); is && !strings.HasPrefix(key, "#") {
			u[key] = append(u[key], value)
		}
	}
	return u, lines.Err()
}

func (u unit) get(key string) string {
	if v := u[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

func (u unit) seconds(key string) time.Duration {
	n, _ := strconv.Atoi(u.get(key))
	return time.Duration(n) * time.Second
}

// command is ExecStart, with its directories made.
func (u unit) command() (*exec.Cmd, error) {
	uid, gid, err := u.ids()
	if err != nil {
		return nil, err
	}
	for key, base := range map[string]string{"StateDirectory": "/var/lib", "RuntimeDirectory": "/run", "LogsDirectory": "/var/log"} {
		dir := filepath.Join(base, u.get(key))
		mode, err := strconv.ParseUint(u.get(key+"Mode"), 8, 32)
		if err != nil {
			mode = 0o755
		}
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, os.FileMode(mode)), os.Chown(dir, int(uid), int(gid))); err != nil {
			return nil, err
		}
	}
	out, err := os.OpenFile(journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(u.get("ExecStart"))
	cmd := exec.Command("/bin/sh", append([]string{"-c", "umask " + u.get("UMask") + "; exec \"$@\"", "sh"}, words...)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, "/"
	cmd.Env = append([]string{"PATH=" + machinePath, "NOTIFY_SOCKET=" + notifySocket}, u["Environment"]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Credential: &syscall.Credential{Uid: uid, Gid: gid}, AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE},
	}
	return cmd, nil
}

// as runs a command as the unit's user, with its output in the journal.
func (u unit) as(cmd *exec.Cmd) error {
	uid, gid, err := u.ids()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the process had it
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	return cmd.Run()
}

func (u unit) ids() (uid, gid uint32, err error) {
	who, err := user.Lookup(u.get("User"))
	if err != nil {
		return 0, 0, err
	}
	id, err := strconv.ParseUint(who.Uid, 10, 32)
	group, gerr := strconv.ParseUint(who.Gid, 10, 32)
	return uint32(id), uint32(group), errors.Join(err, gerr)
}
