package imapclient

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is the connection with deadlines, raw logs and counters.
type wire struct {
	net.Conn
	timeout  time.Duration
	in, out  *rawLog // nil without
	asked    bool    // something was sent since the last Read
	counters *Counters
	heard    atomic.Int64 // when something came last, in nanoseconds of Unix time
	once     sync.Once

	mu          sync.Mutex // guards what follows
	resting     bool       // in a wait that interrupt ends
	interrupted bool
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	if !w.resting {
		_ = w.SetReadDeadline(time.Now().Add(w.timeout))
	}
	w.mu.Unlock()
	asked, began := w.asked, time.Time{}
	if asked {
		w.asked, began = false, time.Now()
		w.counters.RoundTrips.Add(1)
	}
	n, err := w.Conn.Read(p)
	if asked && err == nil {
		w.counters.Waits.Observe(time.Since(began))
	}
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	w.in.write(p[:n])
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	_ = w.SetWriteDeadline(time.Now().Add(w.timeout))
	n, err := w.Conn.Write(p)
	w.out.write(p[:n])
	return n, err
}

func (w *wire) Close() error {
	err := net.ErrClosed
	w.once.Do(func() {
		err = w.Conn.Close()
		w.closeLogs()
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (w *wire) closeLogs() {
	w.in.close()
	w.out.close()
}

// rest has wait, which reads, be ended by interrupt or after d. It reports
// whether it was ended by one of these.
func (w *wire) rest(d time.Duration, wait func() error) (ended bool, err error) {
	w.mu.Lock()
	if w.interrupted {
		w.mu.Unlock()
		return true, nil
	}
	w.resting = true
	_ = w.SetReadDeadline(time.Now().Add(d))
	w.mu.Unlock()

	err = wait()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = false
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true, nil
	}
	return false, err
}

// interrupt ends the present rest, or the next one.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = true
	if w.resting {
		_ = w.SetReadDeadline(time.Unix(1, 0))
	}
}

// rearm forgets an interrupt.
func (w *wire) rearm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupted = false
}
