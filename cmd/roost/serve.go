package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/roost-mail/roost/config"
)

// shutdownTime is how long sessions have to end before they are cut off.
const shutdownTime = 10 * time.Second

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Run what a configuration file asks for, in the foreground",
		Long: `Runs a director (director_mail_servers is set), a backend, or both, as FILE
says, until SIGTERM or SIGINT. A backend's sessions are then told BYE and mail is
closed cleanly; a director closes the connections that it has handed on. The log goes to stderr unless FILE sets log_path; SIGUSR1 opens it anew
after rotation. SIGHUP, or roost reload, reads FILE and its certificates again, for
connections and logins from then on; a FILE with errors changes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{fmt.Errorf("serve needs -c FILE")}
			}
			return serve(cmd.Context(), file)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	return cmd
}

// spareHeap is how much garbage a process may gather before it is collected, at
// least. With a live heap of a few MB, as an idle server has it, collections would
// follow each other and take a third of the processor time of a busy one.
const spareHeap = 16 << 20

func serve(ctx context.Context, file string) error {
	spare := make([]byte, spareHeap) // counted as live; never touched, so it takes no memory
	defer runtime.KeepAlive(spare)
	set, warnings, err := config.Load(file)
	if err != nil {
		return err
	}
	log, out, err := openLog(set, os.Stderr)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn(w.String())
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)
	if path := set.General.PIDFile; path != "" {
		f, err := lockPIDFile(path)
		if err != nil {
			return fmt.Errorf("%s: pid_file: %w", set.Where("pid_file"), err)
		}
		defer func() { _ = f.Close() }()
	}
	n, err := newNode(ctx, set, log)
	if err != nil {
		return err
	}
	n.administration.admin.Reload = n.reloadFrom(file)
	if err = n.listen(ctx, nil); err == nil {
		n.start(ctx)
		log.Info("serving", "config", file, "pid", os.Getpid())
		n.tell("READY=1")
		n.handleSignals(ctx, signals, func() { n.tellReload(file) }, func() {
			n.reopenAudit()
			if err := out.reopen(); err != nil {
				log.Error("SIGUSR1: the log can't be opened anew", "error", err)
			}
		})
		select {
		case err = <-n.failed:
		default:
		}
		log.Info("shutting down")
		n.tell("STOPPING=1", "STATUS=Ending sessions")
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if cerr := n.close(stop); err == nil {
		err = cerr
	}
	return err
}

// handleSignals is the main loop of a process. It returns when ctx is done.
func (n *node) handleSignals(ctx context.Context, signals <-chan os.Signal, reload, reopen func()) {
	beats := make(chan struct{})
	n.pulse.add("main loop", true, func(ctx context.Context) {
		select {
		case beats <- struct{}{}:
		case <-ctx.Done():
		}
	})
	watchdog := watchdogTicks()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-n.failed:
			n.failed <- err
			return
		case <-beats:
		case <-watchdog:
			n.tellWatchdog()
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				reload()
			} else {
				reopen()
			}
		}
	}
}
