package logging

import (
	"bytes"
	"testing"

	"github.com/sirupsen/logrus"
)

func TestPriorities(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetLevel(logrus.TraceLevel)
	for _, lines := range []logrus.Formatter{
		&logrus.TextFormatter{DisableTimestamp: true, DisableColors: true},
		&logrus.JSONFormatter{DisableTimestamp: true},
	} {
		log.SetFormatter(Prioritized{lines})
		log.Error("a\nb")
		log.Warn("c")
		log.Info("d")
		log.Debug("e")
		log.Trace("f")
	}
	const want = `<3>level=error msg="a\nb"
<4>level=warning msg=c
<6>level=info msg=d
<7>level=debug msg=e
<7>level=trace msg=f
<3>{"level":"error","msg":"a\nb"}
<4>{"level":"warning","msg":"c"}
<6>{"level":"info","msg":"d"}
<7>{"level":"debug","msg":"e"}
<7>{"level":"trace","msg":"f"}
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
	if p := Priority(logrus.FatalLevel); p != 2 {
		t.Errorf("fatal is %d", p)
	}
}
