package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Bounds of clocks and certificates. S3 refuses requests that are signed more
// than 15 minutes off (Amazon S3 API Reference, "Error responses",
// RequestTimeTooSkewed); with NTP a clock is right within a second.
const (
	deadSkew   = 15 * time.Minute
	oddSkew    = 30 * time.Second
	certNotice = 14 * 24 * time.Hour
	greetTime  = 20 * time.Second // while a person waits
)

// credentials tells who the bucket takes us for.
func (e *exam) credentials(ctx context.Context) Finding {
	if e.Connection == nil {
		return skipped("who the caller is: this store cannot be asked")
	}
	who, err := e.Connection.Caller(ctx)
	switch {
	case err != nil:
		return e.failed(err)
	case who.Anonymous:
		return ok("requests are not signed (--no-sign-request): the bucket must let anybody in")
	}
	key := fmt.Sprintf("an access key that ends in %s, from %s", who.KeyID, who.Source)
	if !who.Expires.IsZero() {
		key += ", until " + who.Expires.UTC().Format(time.RFC3339)
	}
	if who.ARN == "" {
		return ok("%s; %s", key, who.Silent)
	}
	text := fmt.Sprintf("%s of account %s, by %s", who.ARN, who.Account, key)
	if strings.HasSuffix(who.ARN, ":root") {
		return Finding{
			Status: Warning, Text: text + ": the root user of the account, whom no policy of it bounds",
			Remedy: "make a role or a user for this host, with the permissions that docs/OPERATIONS.md lists",
		}
	}
	return ok("%s", text)
}

// endpoint looks at the way to the server, whatever it answers.
func (e *exam) endpoint(ctx context.Context) Finding {
	if e.Connection == nil {
		return skipped("the connection: this store cannot be asked")
	}
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	g, err := e.Connection.Greet(ctx)
	if err != nil {
		e.deaf = errors.Is(err, objstore.ErrUnreachable)
		return e.failed(err)
	}
	e.greeting = g
	text := fmt.Sprintf("%s answers in %v", g.Host, g.Took.Round(time.Millisecond))
	if g.Server != "" {
		text += " as " + g.Server
	}
	if g.Protocol == "" {
		return plainHTTP(text, g.Exposed)
	}
	text += fmt.Sprintf(", by %s with a certificate of %s until %s", g.Protocol, g.Issuer, day(g.Expires))
	if left := g.Expires.Sub(e.Now()); left < certNotice {
		return Finding{
			Status: Warning, Text: text + ", which is near",
			Remedy: "have the server's certificate renewed: from then on nothing can be read or written",
		}
	}
	return ok("%s", text)
}

func plainHTTP(text string, exposed bool) Finding {
	text += " by plain HTTP"
	if !exposed {
		return ok("%s, on this host", text)
	}
	return Finding{
		Status: Warning, Text: text + ": names and requests can be seen and answers forged on the way, and without a mode of this host's own the content too",
		Remedy: "use an https:// URL with --endpoint-url, and --ca-bundle where the CA is your own",
	}
}

// clock compares this host's to the server's.
func (e *exam) clock(context.Context) Finding {
	g := e.greeting
	if g.Date.IsZero() {
		return skipped("the server's answers have no date")
	}
	skew := g.Skew()
	size, side := skew.Abs().Round(time.Second), "behind"
	if skew < 0 {
		side = "ahead of"
	}
	text := fmt.Sprintf("this host's clock is %v %s the server's", size, side)
	const remedy = "set the clock, and keep it so with chrony or systemd-timesyncd"
	switch {
	case size >= deadSkew:
		return Finding{Status: Failure, Text: text + ", and S3 refuses what is signed 15 minutes off", Remedy: remedy}
	case size >= oddSkew:
		return Finding{Status: Warning, Text: text + ": times of files, and what hosts think of each other's age, are off by as much", Remedy: remedy}
	}
	return ok("this host's clock and the server's agree to %v", max(size, time.Second))
}
