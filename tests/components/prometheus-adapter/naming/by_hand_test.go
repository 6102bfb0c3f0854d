package naming

// One template a line; ␤, ␉ and ␍ stand for a line break, a tab and a carriage return.
const byHand = `
sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)<<end>> / 100
sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)<<else>> - 5
<<if .Series>>a
<<range .GroupBySlice>>a
<<with .Series>>a
<<block "x" .>>a
<<define "x">>a
<<if .Series>>a<<else>>b
<<if .Series>>a<<else>>b<<else>>c<<end>>
<<if .Series>>a<<else if .GroupBy>>b<<else>>c<<end>>
<<if .Series>>a<<else with .GroupBy>>b<<end>>
<<with .Series>>a<<else with .GroupBy>>b<<else>>c<<end>>
<<with .Series>>a<<else if .GroupBy>>b<<end>>
<<range .GroupBySlice>>a<<else if .Series>>b<<end>>
<<range .GroupBySlice>>a<<else>>b<<end>>
<<range .GroupBySlice>>a<<else>>b<<else>>c<<end>>
<<if .LabelValuesByName.nosuch>>a<<else>>b<<end>>
<<if not .LabelValuesByName.nosuch>>a<<end>>
<<with .LabelValuesByName.nosuch>>a<<else>>b<<.Series>><<end>>
<<if and .LabelValuesByName.pod .LabelValuesByName.nosuch>>a<<else>>b<<end>>
<<if or .LabelValuesByName.nosuch .LabelValuesByName.pod>>a<<else>>b<<end>>
<<or .LabelValuesByName.nosuch "default">>
<<and .LabelValuesByName.nosuch "default">>
<<.LabelValuesByName.nosuch>>
<<.LabelValuesByName.nosuch | print>>
<<.LabelValuesByName.nosuch | printf "%s %v %d">>
<<print .LabelValuesByName.nosuch>>
<<println .LabelValuesByName.nosuch .LabelValuesByName.nosuch>>
<<html .LabelValuesByName.nosuch>> <<js .LabelValuesByName.nosuch>> <<urlquery .LabelValuesByName.nosuch>>
<<html .LabelValuesByName.nosuch 1 2 "a">>
<<index .LabelValuesByName "nosuch">>
<<index .LabelValuesByName "pod">>
<<index .LabelValuesByName>>
<<if index .LabelValuesByName "nosuch">>a<<else>>b<<end>>
<<if eq .LabelValuesByName.nosuch "">>a<<else>>b<<end>>
<<if eq (index .LabelValuesByName "nosuch") "">>a<<else>>b<<end>>
<<eq .LabelValuesByName.nosuch nil>>
<<eq nil nil>>
<<eq .LabelValuesByName nil>>
<<eq .GroupBySlice nil>>
<<ne .GroupBySlice nil>>
<<eq .LabelValuesByName .LabelValuesByName>>
<<eq .GroupBySlice .GroupBySlice>>
<<eq .GroupBySlice .LabelValuesByName>>
<<eq . .>>
<<len .LabelValuesByName.nosuch>>
<<.LabelValuesByName.nosuch.more.and.more>>
<<.LabelValuesByName.pod.more>>
<<.LabelValuesByName.é>>
<<range .LabelValuesByName.nosuch>>a<<else>>b<<end>>
<<range nil>>a<<end>>
<<range $k, $v := .LabelValuesByName>><<$k>>=<<$v>>;<<end>>
<<range $k, $v := .LabelValuesByName>><<$k>><<else>><<$k>>:<<$v>><<end>>
<<range $v := .GroupBySlice>><<$v>><<else>><<$v>><<end>>
<<range $i, $v := .GroupBySlice>><<if $i>>,<<end>><<$v>><<end>>
<<$i := 5>><<range $i, $v = .GroupBySlice>>a<<end>><<$i>>
<<$i := 5>><<$v := 6>><<range $i, $v = .GroupBySlice>><<$i>><<$v>><<end>><<$i>><<$v>>
<<$v := 6>><<range $v = .GroupBySlice>><<$v>><<end>><<$v>>
<<range $v = .GroupBySlice>><<$v>><<end>>
<<range $i, $v, $w := .GroupBySlice>>a<<end>>
<<range $i, := .GroupBySlice>>a<<end>>
<<range $i, .GroupBySlice>>a<<end>>
<<range $i, $v .GroupBySlice>>a<<end>>
<<range $i, $v>>a<<end>>
<<range $i>>a<<end>>
<<range $i :=>>a<<end>>
<<range>>a<<end>>
<<$v := 1>><<range $i, $v>>a<<end>>
<<range 3>>a<<end>>
<<range $i := 3>><<$i>><<end>>
<<range $i, $j := 3>><<$i>><<end>>
<<range 0>>a<<else>>b<<end>>
<<range -1>>a<<else>>b<<end>>
<<range 'a' | len>>a<<end>>
<<range index "\x03" 0>><<.>><<printf "%T" .>><<end>>
<<range 1.0>>a<<end>>
<<range "abc">>a<<end>>
<<range true>>a<<end>>
<<range .>>a<<end>>
<<range 5>><<if eq . 3>><<break>><<end>><<.>><<end>>
<<range 5>><<if eq . 3>><<continue>><<end>><<.>><<end>>
<<range 3>><<range 3>><<if eq . 1>><<break>><<end>><<.>><<end>>;<<end>>
<<range 3>><<$x := .>><<end>><<$x>>
<<range 3>><<break>><<else>><<break>><<end>>
<<range 2>><<range 2>>a<<else>><<break>><<end>><<end>>
<<range 2>><<range 0>>a<<else>>b<<break>>c<<end>>d<<end>>
<<range 2>><<range 0>>a<<else>>b<<continue>>c<<end>>d<<end>>
<<range 2>><<range 2>><<with 0>>a<<else>><<break>><<end>>b<<end>>c<<end>>
<<range 2>><<break >><<end>>
<<range 2>><<break 1>><<end>>
<<range 2>><<break .>><<end>>
<<range 2>><<block "b" .>><<break>><<end>><<end>>
<<range 2>><<if true>><<with 1>>a<<continue>><<end>>b<<end>>c<<end>>
<<break>>
<<continue>>
<<if true>><<break>><<end>>
<<end>>
<<else>>
<<else if .>>
<<with $x := .Series>><<$x>><<end>><<$x>>
<<if $x := .Series>><<$x>><<else>><<$x>><<end>>
<<if true>><<$x := 1>><<else>><<$x>><<end>>
<<$x := 1>><<$x>><<$x = "a">><<$x>>
<<$x := 1>><<if true>><<$x = 2>><<end>><<$x>>
<<$x := 1>><<if true>><<$x := 2>><<end>><<$x>>
<<$x := 1>><<with 5>><<$x = .>><<end>><<$x>>
<<$x = 1>>
<<$x = 1>><<$x>>
<<$x>>
<<$x := $x>>
<<$x := 1, $y := 2>>
<<$x, $y := 1>>
<<$x $y>>
<<$x := 1>><<$x 1>>
<<$x := 1>><<$x | $x>>
<<$ := 1>><<$>>
<<$>>
<<$.Series>>
<<$.Series.x>>
<<$x:=1>><<$x>>
<<$x=1>>
<<$x :=1>><<$x>>
<<$1 := 1>><<$1>>
<<$é := 1>><<$é>>
<<($x := 1)>><<$x>>
<<print ($x := 1) $x>>
<<define "f">>[<<.>>]<<end>><<template "f" .Series>><<template "f">><<template "f" 1 | print>>
<<define "f">><<$.Series>><<end>><<template "f" .>><<template "f">>
<<define "f">><<.Series>><<end>><<template "f">>
<<define "f">><<$x>><<end>><<$x := 1>><<template "f">>
<<$x := 1>><<define "f">><<$x>><<end>>
<<define "f">>a<<end>><<define "f">>b<<end>><<template "f">>
<<define "f">> <<end>><<define "f">>b<<end>><<template "f">>
<<define "f">>b<<end>><<define "f">> ␤<<end>><<template "f">>
<<define "f">>a<<end>><<block "f" .>>b<<end>>
<<define "f">><<define "g">><<end>><<end>>
<<if true>><<define "g">><<end>><<end>>
<<define f>>a<<end>>
<<define>>a<<end>>
<<define "f" .>>a<<end>>
<<define "f">>a<<else>>b<<end>>
<<define "\xff">>a<<end>><<template "\xff">>
<<template "nosuch">>
<<if false>><<template "nosuch">><<end>>
<<template "f" . .>>
<<template .Series>>
<<template>>
<<block "b" .Series>><<.>><<end>>
<<block "b">>a<<end>>
<<block "b" .>>a<<else>>b<<end>>
<<block "b" .>><<$>><<end>><<template "b" 1>>
<<define "metrics-query">>a<<end>>
<<define "metrics-query">>a<<end>>b
<<define "metrics-query">> <<end>>b
<<define "f">><<with .>><<if gt (len .) 0>><<index . 0>>,<<template "f" slice . 1>><<end>><<end>><<end>><<template "f" .GroupBySlice>>
<<upper .Series>>
<<if false>><<upper .Series>><<end>>
<<.Groupby>>
<<if false>><<.Groupby>><<end>>
<<range .GroupBySlice>><<.Series>><<end>>
<<range .GroupBySlice>><<$.Series>>{<<.>>}<<end>>
<<.Series.x>>
<<.Series "a">>
<<"a" | .Series>>
<<.LabelValuesByName.pod "a">>
<<"a" | .LabelValuesByName.nosuch>>
<<.LabelValuesByName.nosuch.x "a">>
<<print.x>>
<<(print).x>>
<<(.).Series>>
<<(.LabelValuesByName).pod>>
<<(index .GroupBySlice 0).x>>
<<("a").x>>
<<"a".x>>
<<1.x>>
<<true.x>>
<<nil.x>>
<<(nil).x>>
<<..x>>
<<. .Series>>
<<.Series.>>
<<.Series . >>
<<.1>>
<<.>>
<<nil>>
<<print nil>>
<<nil | print>>
<<true>><<false>>
<<true | print>>
<<print | true>>
<<print | 1>>
<<print | "a">>
<<print | .>>
<<print | nil>>
<<print | (print)>>
<<print | .Series>>
<<1 2>>
<<"a" "b">>
<<"a""b">>
<<(1)(2)>>
<<(1) (2)>>
<<()>>
<<( )>>
<<(1>>
<<1)>>
<<((1))>>
<<>>
<< >>
<<- ->>
<<- >>
<< ->>
<<|>>
<<.Series |>>
<<.Series ||>>
<<| .Series>>
<<.Series | | print>>
<<.Series |print>>
<<.Series,>>
<<.Series ; .GroupBy>>
<<.Series + 1>>
<<.Series +1>>
<<!true>>
<<.Series[0]>>
<<@>>
<<é>>
<<.é>>
<<\>>
<<:>>
<<:=>>
<<=>>
<<"a>>
<<"a␤b">>
<<"a\␤b">>
<<'a>>
<<'>>
<<''>>
<<'\''>><<'"'>><<'\\'>>
<<'\"'>>
<<"\'">>
<<'ab'>>
<<'é'>><<'\xff'>><<'\377'>><<'\u00e9'>>
<<print 'a' 'b'>>
<<"a" "b" | print>>
<<` + "`a`" + `>><<` + "`>>`" + `>><<` + "`a␍␤b`" + `>>
<<` + "`a" + `>>
<<"\x41\101\u00e9\U0001F600\a\b\f\n\r\t\v\\">>
<<"\xff">>
<<"\xc3">><<"\xa9">>
<<"\u12">>
<<"\ud800">>
<<"\q">>
<<"\400">>
<<slice "é" 0 1>>
<<slice "é" 0 1>><<slice "é" 1>>
<<0>><<-0>><<+0>><<00>><<07>><<0x1F>><<0X1f>><<0b101>><<0B1>><<0o17>><<0O17>><<017>>
<<1_000>><<0x_1F>><<0b_1>><<0_7>>
<<1__0>>
<<_1>>
<<1_>>
<<0x>>
<<0b2>>
<<0o8>>
<<08>>
<<08.5>>
<<0xg>>
<<1a>>
<<1e3>><<1E3>><<1e+3>><<1e-3>><<.5>><<5.>><<1.5e3>><<1_0.5>><<1e1_0>>
<<1e400>>
<<1e>>
<<1.5.5>>
<<.>><<..>>
<<0x1p4>><<0x1.8p1>><<0x.8p1>><<0x1P-2>><<-0x1p4>>
<<0x1.8>>
<<0xe>><<-0xe>><<+0xe>>
<<printf "%d" -0xe>>
<<1i>><<0i>><<1.5i>><<1e3i>><<017i>>
<<0x1i>>
<<0x1p2i>>
<<1+2i>><<1-2i>><<-1.5+0.5i>><<1e3-1e-3i>><<1e+3+2i>>
<<0+0i>>
<<1+2>>
<<1+2i+3i>>
<<1i+2i>>
<<1 + 2i>>
<<1+i>>
<<i>>
<<0x1p2+0x1p3i>>
<<1_0+1_0i>>
<<0b1+1i>>
<<eq 1+0i 1+0i>>
<<eq 1+0i 1>>
<<9223372036854775807>><<-9223372036854775808>>
<<9223372036854775808>>
<<if false>><<9223372036854775808>><<end>>
<<18446744073709551615>>
<<+18446744073709551615>>
<<18446744073709551616>>
<<-9223372036854775809>>
<<0xffffffffffffffff>>
<<0x1ffffffffffffffff>>
<<99999999999999999999999999999999999999999999999999>>
<<1e20>><<1e21>><<123456789.0>><<100000.0>><<1e6>><<0.0001>><<0.00001>><<-0.0>>
<<print 1.0 2.5 1e100>>
<<printf "%v %g %f %e %.2f %6.1f|%-8.2f|%+.1f|%08.3f|% f" 1.5 1.5 1.5 1.5 1.005 2.25 1.5 1.5 -1.5 1.5>>
<<printf "%x %X %b %#x %.3x %.0x %G %E %F" 1.5 1.5 1.5 1.5 1.9999 1.5 1e100 1.5 1.5>>
<<printf "%#g %#v %#.3g %#f %#.0f %#e %#.0e" 1.0 1.0 1e10 1.0 1.0 1.0 1.0>>
<<printf "%x %x %x %b" 0.0 5e-324 1e-310 5e-324>>
<<printf "%.20x %.1x %.1x %.0x" 1.5 1.96875 1.03125 1.99>>
<<printf "%.30g %.30f %.30e" 0.1 0.1 0.1>>
<<printf "%.0f %.0f %.0f %.1f" 0.5 1.5 2.5 0.25>>
<<printf "%d %+d % d %05d %-5d| %5d %.3d %05.3d %.0d|" 5 5 5 5 5 5 5 5 0>>
<<printf "%b %o %O %#o %x %X %#x %#X %#b" 5 8 8 8 255 255 255 255 5>>
<<printf "%c %q %U %#U %#q %+q" 97 97 97 97 233 233>>
<<printf "%c %q %U %d" -1 -1 -1 -1>>
<<printf "%c %q" 0xd800 0x110000>>
<<printf "%#08x %#8x|%-#8x|%+08d %+-8d|%08d" 255 255 255 5 5 -5>>
<<printf "%s %q %v %x %X % x %#x % #x" "aé" "aé" "aé" "aé" "aé" "aé" "aé" "aé">>
<<printf "%5s|%-5s|%05s|%.1s|%.0s|%5.1s" "aé" "aé" "aé" "éa" "a" "éa">>
<<printf "%q %+q %#q %#q %#+q" "é\"\n\x00\xff" "é\u2028" "a" "a` + "\\x60" + `" "é">>
<<printf "%x|%10x|%-10x|%.1x" "" "ab" "ab" "ab">>
<<printf "%t %v %5t|%s %d" true false true true false>>
<<printf "%v %+v %#v %T %s %d %q %x" .GroupBySlice .GroupBySlice .GroupBySlice .GroupBySlice .GroupBySlice .GroupBySlice .GroupBySlice .GroupBySlice>>
<<printf "%v %+v %#v %T %s %d %q %x" .LabelValuesByName .LabelValuesByName .LabelValuesByName .LabelValuesByName .LabelValuesByName .LabelValuesByName .LabelValuesByName .LabelValuesByName>>
<<printf "%v %+v %#v %T %s" . . . . .>>
<<printf "%8v|%-8s|%.1s" .GroupBySlice .GroupBySlice .GroupBySlice>>
<<printf "%v %d %s %T %q %5v" nil nil nil nil nil nil>>
<<printf "%v %.1f %5.1f %+v %d %x" 1+2i 1+2i 1-2i 1+2i 1+2i 1.5+0i>>
<<printf "%w %w %w %w" "a" 1 .GroupBySlice nil>>
<<printf "%p %p" "a" 1>>
<<printf "%z %é %!">>
<<printf "%">>
<<printf "%%%d%%" 1>>
<<printf "a" 1 "b" nil .GroupBySlice>>
<<printf "%d">>
<<printf "%d %d" 1>>
<<printf "%[2]d %[1]d" 1 2>>
<<printf "%[3]d" 1>>
<<printf "%[0]d" 1>>
<<printf "%[]d %[x]d %[1" 1>>
<<printf "%[2]*[1]d|" 5 6>>
<<printf "%*d|%-*d|%*d" 5 1 5 1 -5 1>>
<<printf "%*d" "a" 1>>
<<printf "%.*f|%.*f" 2 1.5 -1 1.5>>
<<printf "%[1]5d|%[1].2d|%5[1]d|%.[1]*d" 3>>
<<printf "%1000001d" 1 | len>>
<<printf "%10000010d" 1>>
<<printf "%*d" 1000001 1>>
<<printf "%v %d %c %x %#v %T" (index "a" 0) (index "a" 0) (index "a" 0) (index "a" 0) (index "a" 0) (index "a" 0)>>
<<printf 1>>
<<printf nil>>
<<printf true>>
<<printf .GroupBySlice>>
<<printf .LabelValuesByName.nosuch>>
<<printf>>
<<"%d" | printf>>
<<1 | printf>>
<<print>>|<<println>>|<<html>>|<<js>>|<<urlquery>>
<<print 1 2>><<print 1 "a" 2>><<print "a" "b">><<print 1 2 "a" 3 4>><<print nil 1>><<println 1 "a">>
<<html "<a href='x'>\"&\x00">>
<<js "'\"<>&=\\\n\x00é\u2028\xff\x7f">>
<<urlquery "a b/c?d=é&-_.~+%">>
<<urlquery 1 2 "a">>
<<html .GroupBySlice>><<js .LabelValuesByName>><<urlquery .>>
<<len "é">><<len .GroupBySlice>><<len .LabelValuesByName>>
<<len 1>>
<<len .>>
<<len nil>>
<<len>>
<<len "a" "b">>
<<index "abc" 1>><<index "abc" 'a'>>
<<index "abc" 3>>
<<index "abc" -1>>
<<index "abc" 1.0>>
<<index "abc" "a">>
<<index "abc" nil>>
<<index "abc" (index "\x01" 0)>>
<<index .GroupBySlice 0>>
<<index .GroupBySlice 0 0>>
<<index .GroupBySlice 5>>
<<index .LabelValuesByName 1>>
<<index .LabelValuesByName nil>>
<<index .LabelValuesByName "pod" 0>>
<<index nil>>
<<index 1>>
<<index 1 1>>
<<index . "Series">>
<<index>>
<<slice "abc">><<slice "abc" 1>><<slice "abc" 1 2>><<slice "abc" 3>>
<<slice "abc" 4>>
<<slice "abc" 2 1>>
<<slice "abc" 0 1 2>>
<<slice "abc" 0 1 2 3>>
<<slice .GroupBySlice 0 1>>
<<slice (slice .GroupBySlice 0 0) 0 1>>
<<slice (slice .GroupBySlice 0 0 0) 0 1>>
<<slice .GroupBySlice 1 0>>
<<slice .LabelValuesByName>>
<<slice nil>>
<<slice 1>>
<<eq 1 1>><<eq 1 2 1>><<eq "a" "b" "a">><<eq 1.5 1.5>><<eq true true>><<eq 1 'a' 1>>
<<eq 1 1.0>>
<<eq 1 "a">>
<<eq 1 1 "a">>
<<eq 1>>
<<eq>>
<<eq (index "a" 0) 97>><<lt (index "a" 0) 98>><<le 97 (index "a" 0)>>
<<ne 1 2>><<lt 1 2>><<le 1 1>><<gt 2 1>><<ge 1 1>><<lt "a" "b">><<ge "b" "a">><<lt 1.5 2.5>>
<<lt 1 1.5>>
<<lt true false>>
<<lt 1+1i 2+2i>>
<<le true true>>
<<lt nil 1>>
<<lt .GroupBySlice .GroupBySlice>>
<<ne 1 2 3>>
<<lt 1>>
<<and 1 0 2>><<and 1 2>><<or 0 "" "a">><<or 0 "">>|
<<and>>
<<or>>
<<and 0 (index "a" 5)>><<or 1 (index "a" 5)>>
<<and 1 (index "a" 5)>>
<<1 | and 0>><<1 | and 1>><<0 | or 0>><<nil | or 0>>
<<and nil 1>><<or nil nil>>
<<not 0>><<not "a">><<not .>><<not nil>><<not .LabelValuesByName>>
<<not>>
<<not 1 2>>
<<call>>
<<call print>>
<<call 1>>
<<call nil>>
<<call .Series>>
<</* c */>>a
<</* c >> */>>a
<< /* c */>>
<</* c */ >>
<</* c>>
<</* c */
a <<- /* c */ ->> b
a <<-/* c */->> b
a␤ <<- .Series ->> ␤ b
a <<-␤.Series␤->>␉b
a <<-.Series->> b
<<-3>>
<<- 3>>
<<3 ->> a
<<3->>
a <<- "b" ->> c <<- if true ->> d <<- else ->> e <<- end ->> f
<<.Series
<<
a << b
a >> b
a < b << .Series >> c > d
{{.Series}}
<<{.Series}>>
<<<.Series>>
<<.Series>>>
<<<<.Series>>>>
<<.Series -->>
<<if>>a<<end>>
<<if .Series .GroupBy>>a<<end>>
<<if $x>>a<<end>>
<<if true>>a<<end .>>
<<if true>>a<<else .>>b<<end>>
<<if true>>a<<elseif true>>b<<end>>
<<if true>>a<<else if>>b<<end>>
<<if true>>a<<else if true>>b<<else>>c<<end>><<end>>
<<if true>>a<<else>><<if true>>b<<end>><<end>>
<<if .>>a<<end>><<if 0>>b<<end>><<if 0.0>>c<<end>><<if "">>d<<end>><<if 0i>>e<<end>><<if .GroupBySlice>>f<<end>><<if .LabelValuesByName>>g<<end>><<if nil>>h<<end>>
<<with 0>>a<<end>><<with .GroupBySlice>><<len .>><<end>>
<<range .GroupBySlice>><<with $.LabelValuesByName>><<range .>>a<<end>><<end>><<end>>
<<trim .Series>>
<<define>>
<<nil nil>>
<<print end>>
<<print if>>
<<.end>><<.if>>
<<$if := 1>><<$if>>
<<end end>>
<<block "a" .>><<block "b" .>>x<<end>><<end>><<template "b" .>>
<<with $y := index .LabelValuesByName "pod">><<range $i, $c := .>>a<<end>><<end>>
<<range $i, $e := .GroupBySlice>><<range $j, $f := $.LabelValuesByName>><<$i>><<$e>><<$j>><<$f>>,<<end>><<end>>
<<range 3>><<$x := 1>><<end>><<range 2>><<$x = 2>><<end>>
`

var labelsByHand = []string{
	"<<.Resource>>", "kube_<<.Resource>>", "kube_<<.Group>>_<<.Resource>>", "<<if .Group>><<.Group>>_<<end>><<.Resource>>",
	"<<.>>", "<<.String>>", "<<.Empty>>", "<<print .>>", `<<printf "%v %s %q %+v %x %d %T %#v %w" . . . . . . . . .>>`, "<<html .>>",
	"<<.resource>>", "<<.Series>>", "<<.Resource", "<<.Resource>><<end>>", "<<len .Resource>>", "<<eq . .>>", "<<.String 1>>",
	`<<printf "kube_%s" .Resource>>`, "<<- .Resource ->>", "${.Resource}$", `<<.Resource | printf "%s_name">>`,
	"<<range .>><<end>>", "<<not .>>", "<<with .Group>><<.>>_<<end>><<.Resource>>", `<<template "resource-label">>`[:12],
}
