package dictsql

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
)

// engine is a kind of database, and the connections to one of it.
type engine struct {
	where     string // host and database, for errors
	db        *sql.DB
	isolation sql.IsolationLevel
	numbered  bool   // marks of arguments are $1, $2 ..., else ?
	forUpdate string // after a SELECT of what is changed in the same transaction
	sum       string // of a digest; %s are the columns
	notify    string // statement that announces a commit

	kind    func(error) error                                 // dict.ErrBusy, dict.ErrInvalid or nil
	version func(context.Context) (string, error)             // nil: by digests
	listen  func(ctx context.Context, announced func()) error // nil: nothing is announced
	closing func() error                                      // nil, or what is closed before db
}

func openEngine(driver, connect string) (*engine, error) {
	switch driver {
	case "pgsql":
		return openPostgres(connect)
	case "mysql":
		return openMySQL(connect)
	case "sqlite":
		return openSQLite(connect)
	}
	return nil, fmt.Errorf("%q is no kind of database: pgsql, mysql and sqlite are", driver)
}

func (e *engine) limit() {
	e.db.SetMaxOpenConns(maxConns)
	e.db.SetMaxIdleConns(maxIdle)
	e.db.SetConnMaxIdleTime(idleTime)
}

func (e *engine) close() error {
	if e.closing != nil {
		if err := e.closing(); err != nil {
			return err
		}
	}
	return e.db.Close()
}

// mark is the place of the n-th argument.
func (e *engine) mark(n int) string {
	if e.numbered {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

// order puts the argument that an UPDATE sets where its mark is: it is the last of
// those with numbers, and the first of those without.
func (e *engine) order(where []any, value any) []any {
	if e.numbered {
		return append(where, value)
	}
	return append([]any{value}, where...)
}
