package dictsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/roost-mail/roost/dict"
)

// busyMilliseconds is how long SQLite itself waits for others' locks. It is short
// because such a wait can't be cancelled; commits are tried again.
const busyMilliseconds = 100

// openSQLite opens a database that exists. Whoever writes has the file alone.
func openSQLite(path string) (*engine, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("connect: %q is not the absolute path of a database", path)
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + fmt.Sprintf("?mode=rw&_txlock=immediate&_pragma=busy_timeout(%d)&_pragma=synchronous(full)", busyMilliseconds)
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	e := &engine{where: "SQLite " + path, db: db, kind: sqliteKind}
	e.limit()
	v := &sqliteVersion{db: db}
	e.version, e.closing = v.get, v.close
	return e, nil
}

func sqliteKind(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code() & 0xff {
	case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED:
		return dict.ErrBusy
	case sqlitelib.SQLITE_TOOBIG:
		return dict.ErrInvalid
	}
	return nil
}

// sqliteVersion has a connection of its own, for SQLite tells a connection only of
// what others changed.
type sqliteVersion struct {
	db *sql.DB

	mu    sync.Mutex // guards what follows, and is held while SQLite is asked: it reads a counter of the file
	conn  *sql.Conn
	conns int // made so far: versions of one don't count at the next
}

func (v *sqliteVersion) get(ctx context.Context) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn == nil {
		conn, err := v.db.Conn(ctx)
		if err != nil {
			return "", err
		}
		v.conn = conn
		v.conns++
	}
	var n int64
	if err := v.conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&n); err != nil {
		_ = v.conn.Close()
		v.conn = nil
		return "", err
	}
	return strconv.Itoa(v.conns) + ":" + strconv.FormatInt(n, 10), nil
}

func (v *sqliteVersion) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn == nil {
		return nil
	}
	return v.conn.Close()
}
