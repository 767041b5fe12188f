// Package browser drives a headless Chromium, as far as tests of a page need
// it: over the DevTools protocol on two pipes (--remote-debugging-pipe), so that
// no port is opened and no driver installed.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Page is one tab. Its methods are not for several goroutines.
type Page struct {
	cmd     *exec.Cmd
	out     io.WriteCloser
	in      *os.File
	session string
	serial  int
	done    chan struct{} // closed when nothing more is read

	mu      sync.Mutex
	cond    *sync.Cond
	answers map[int]message
	loads   int // load events
	ended   error

	// Requests are the URLs that were asked for, Trouble the errors, warnings and
	// words of the console; both from the last Open on.
	requests, trouble []string
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct{ Message string }
}

// Start runs chromium with its files in dir, which Close leaves to the caller.
func Start(ctx context.Context, chromium, dir string) (*Page, error) {
	theirs, out, err := os.Pipe() // they read on 3
	if err != nil {
		return nil, err
	}
	in, answers, err := os.Pipe() // and write on 4
	if err != nil {
		return nil, err
	}
	p := &Page{out: out, in: in, done: make(chan struct{}), answers: map[int]message{}}
	p.cond = sync.NewCond(&p.mu)
	p.cmd = exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND",
		"--user-data-dir="+dir, "--remote-debugging-pipe", "about:blank")
	p.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	p.cmd.ExtraFiles = []*os.File{theirs, answers}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	_ = theirs.Close()
	_ = answers.Close()
	go p.read()
	if err := p.attach(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// attach opens a tab and has it tell of everything.
func (p *Page) attach() error {
	var target struct{ TargetID string }
	if err := p.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return err
	}
	var session struct{ SessionID string }
	if err := p.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session); err != nil {
		return err
	}
	p.session = session.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log", "DOM", "Accessibility"} {
		if err := p.call(domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the browser.
func (p *Page) Close() error {
	_ = p.out.Close() // it ends where nobody asks any more
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait() // killed
	<-p.done
	return p.in.Close()
}

func (p *Page) read() {
	defer close(p.done)
	r := bufio.NewReader(p.in)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			p.mu.Lock()
			p.ended = fmt.Errorf("the browser has ended: %w", err)
			p.cond.Broadcast()
			p.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) == nil {
			p.take(m)
		}
	}
}

// take notes an answer or an event.
func (p *Page) take(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	switch m.Method {
	case "":
		p.answers[m.ID] = m
	case "Page.loadEventFired":
		p.loads++
	case "Network.requestWillBeSent":
		var e struct{ Request struct{ URL string } }
		_ = json.Unmarshal(m.Params, &e)
		p.requests = append(p.requests, e.Request.URL)
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		p.trouble = append(p.trouble, m.Method+" "+string(m.Params))
	}
}

// call sends a command and waits for its answer.
func (p *Page) call(method string, params, result any) error {
	p.serial++
	id := p.serial
	text, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params, "sessionId": p.session})
	if params == nil || p.session == "" {
		m := map[string]any{"id": id, "method": method}
		if params != nil {
			m["params"] = params
		}
		if p.session != "" {
			m["sessionId"] = p.session
		}
		text, err = json.Marshal(m)
	}
	if err != nil {
		return err
	}
	if _, err := p.out.Write(append(text, 0)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if m, ok := p.answers[id]; ok {
			delete(p.answers, id)
			switch {
			case m.Error != nil:
				return fmt.Errorf("%s: %s", method, m.Error.Message)
			case result != nil:
				return json.Unmarshal(m.Result, result)
			}
			return nil
		}
		if p.ended != nil {
			return p.ended
		}
		p.cond.Wait()
	}
}

// Open loads a page and waits for it.
func (p *Page) Open(url string) error {
	p.mu.Lock()
	p.requests, p.trouble = nil, nil
	before := p.loads
	p.mu.Unlock()
	if err := p.call("Page.navigate", map[string]any{"url": url}, nil); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.loads == before && p.ended == nil {
		p.cond.Wait()
	}
	return p.ended
}

// Requests are the URLs that were asked for since Open.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Trouble is what the console and the browser said since Open.
func (p *Page) Trouble() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.trouble)
}

// Eval gives the value of a JavaScript expression.
func (p *Page) Eval(expression string, value any) error {
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	err := p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &got)
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return fmt.Errorf("%s: %s", expression[:min(len(expression), 80)], got.ExceptionDetails.Text)
	}
	return json.Unmarshal(got.Result.Value, value)
}

// Media prefers a colour scheme, "light" or "dark".
func (p *Page) Media(scheme string) error {
	return p.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Width makes the window so wide, in CSS pixels.
func (p *Page) Width(pixels int) error {
	return p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Scripts lets the page's scripts run, or not.
func (p *Page) Scripts(run bool) error {
	return p.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": !run}, nil)
}

// Press presses a key: "Tab", "Enter", or one letter.
func (p *Page) Press(key string) error {
	event := map[string]any{"key": key, "code": key}
	switch key {
	case "Tab":
		event["windowsVirtualKeyCode"] = 9
	case "Enter":
		event["windowsVirtualKeyCode"], event["text"] = 13, "\r"
	default:
		event["text"], event["code"] = key, "Key"+strings.ToUpper(key)
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		event["type"] = kind
		if err := p.call("Input.dispatchKeyEvent", event, nil); err != nil {
			return err
		}
	}
	return nil
}

// Role is a node of the tree that screen readers are given.
type Role struct{ Role, Name string }

// Roles gives that tree, in order.
func (p *Page) Roles() ([]Role, error) {
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	if err := p.call("Accessibility.getFullAXTree", nil, &tree); err != nil {
		return nil, err
	}
	var all []Role
	for _, n := range tree.Nodes {
		if !n.Ignored {
			all = append(all, Role{fmt.Sprint(n.Role.Value), fmt.Sprint(n.Name.Value)})
		}
	}
	return all, nil
}
