package dictsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/roost-mail/roost/dict"
)

// keepAlive is how soon a connection whose other end has vanished is known to be dead.
const keepAlive = 15 * time.Second

func openPostgres(connect string) (*engine, error) {
	pairs, err := parseConnect(connect)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(postgresDSN(pairs))
	if err != nil {
		return nil, errors.New("connect: " + strings.TrimSpace(strings.SplitN(err.Error(), ": ", 2)[0])) // the rest may show the password
	}
	cfg.DialFunc = (&net.Dialer{KeepAlive: keepAlive}).DialContext
	e := &engine{
		where: fmt.Sprintf("PostgreSQL %s:%d, database %s", cfg.Host, cfg.Port, cfg.Database),
		db:    stdlib.OpenDB(*cfg), isolation: sql.LevelSerializable, numbered: true,
		sum:    "COALESCE(SUM(hashtextextended(ROW(%s)::text, 0)), 0)",
		notify: "SELECT pg_notify('" + channel + "', '')",
		kind:   postgresKind,
		listen: func(ctx context.Context, announced func()) error { return listen(ctx, cfg, announced) },
	}
	e.limit()
	return e, nil
}

const channel = "roost_dict"

// postgresDSN has one host=, with all hosts, and none of Dovecot's own settings.
func postgresDSN(pairs [][2]string) string {
	var hosts, dsn []string
	for _, p := range pairs {
		switch p[0] {
		case "host":
			hosts = append(hosts, p[1])
			continue
		case "maxconns":
			continue
		}
		dsn = append(dsn, p[0]+"='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p[1])+"'")
	}
	if len(hosts) > 0 {
		dsn = append(dsn, "host='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(strings.Join(hosts, ","))+"'")
	}
	return strings.Join(dsn, " ")
}

func postgresKind(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code {
	case "40001", "40P01", "23505": // serialization, deadlock, inserted by another
		return dict.ErrBusy
	case "22001", "54000": // too long for the column, for the index
		return dict.ErrInvalid
	}
	return nil
}

// listen calls announced once it listens, and when something was announced.
func listen(ctx context.Context, cfg *pgx.ConnConfig, announced func()) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	announced()
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		announced()
	}
}
