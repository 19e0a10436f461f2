# Static pods on a kubelet: the main part of hack/kubelet, which has the functions.
# shellcheck shell=bash disable=SC2154 # names of hack/kubelet

mkdir -p "$work/pods" "$work/config/..1"
echo old >"$work/config/..1/key"
ln -s ..1 "$work/config/..data"
ln -s ..data/key "$work/config/key"

add shared sidecar message oom limits users hostnet processes image-volume config web hooks stubborn
start_kubelet
within 60 answers || { echo "failed: the kubelet does not answer; $out/kubelet.log ends with:"; tail -n 5 "$out/kubelet.log"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }

ready='.conditions[] | select(.type == "Ready") | .status == "True"'
reaches shared "ready by an exec probe" "$ready"
reaches shared "the init container is done" '.initContainerStatuses[0].state.terminated | .exitCode == 0 and .reason == "Completed"'
logs shared reader "what one container wrote the other has read" "from init"
reaches sidecar "ends with its main container" '.phase == "Succeeded" and .initContainerStatuses[0].state.terminated.exitCode == 0'
reaches message "termination message and exit code" '.containerStatuses[] | select(.name == "file") | .state.terminated | .exitCode == 3 and .message == "bye"'
reaches message "message from the log" '.containerStatuses[] | select(.name == "log") | .state.terminated | .exitCode == 4 and .message == "from the log\n"'
reaches oom "is told to be out of memory" '.containerStatuses[0].state.terminated | .exitCode == 137 and .reason == "OOMKilled"'
reaches limits "runs with limits" '.containerStatuses[0].resources.limits == {cpu: "250m", memory: "64Mi"}'
logs limits main "limits are those of its cgroups" $'67108864\n25000 100000'
logs users main "root is mapped, and owns its volume" $'0\n0\nmapped 65536'
logs hostnet main "sees the links of the host" 1
logs processes two "the containers see each other" seen
logs image-volume main "an image and a folder of it as volumes" $'test-image-1\nread-only\nroot:x:0:'
reaches web "ready by an HTTP probe" "$ready"
page() { (exec 3<>"/dev/tcp/$1/$2" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && grep -q 'Welcome to nginx' <&3) 2>/dev/null; }
if page "$(status web | jq -r .podIP)" 80; then ok "web: reached by its address"; else bad "web: reached by its address" "no page"; fi
if page 127.0.0.1 12080; then ok "web: reached by a port of the host"; else bad "web: reached by a port of the host" "no page"; fi

logs config main "the first version of a volume" old
mkdir "$work/config/..2"
echo new >"$work/config/..2/key"
ln -s ..2 "$work/config/..new"
mv -T "$work/config/..new" "$work/config/..data"
logs config main "the next version, in place" $'old\nnew'

answer=$(https 'POST /run/default/shared-node/reader?cmd=cat%20/data/hello HTTP/1.0' 'Content-Length: 0' | tail -n 1)
if [ "$answer" = "from init" ]; then ok "shared: a command through the kubelet"; else bad "shared: a command through the kubelet" "$answer"; fi
# A frame of channel 1 has the output, one of channel 3 the end.
answer=$(https 'GET /exec/default/shared-node/reader?command=cat&command=/data/hello&output=1 HTTP/1.1' 'Host: node' 'Connection: Upgrade' 'Upgrade: websocket' \
    'Sec-WebSocket-Version: 13' 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' 'Sec-WebSocket-Protocol: v4.channel.k8s.io' | tr -d '\0')
case $answer in
*$'\001from init'*$'\003{'*'"status":"Success"'*) ok "shared: a stream through the kubelet" ;;
*) bad "shared: a stream through the kubelet" "$answer" ;;
esac

metric() { get /metrics | awk -v name="$1" '$1 == name { print $2 }'; }
running() { [ "$(metric 'kubelet_running_containers{container_state="running"}')" = "$(get /pods | jq '[.items[].status | .containerStatuses[]?, .initContainerStatuses[]? | select(.state.running)] | length')" ]; }
if within 30 running; then ok "the kubelet's metrics count the containers that run"; else bad "the kubelet's metrics count the containers that run" "$(metric 'kubelet_running_containers{container_state="running"}')"; fi

for victim in "$runtime" kubelet "$runtime and kubelet"; do
    before=$(ids)
    case $victim in *"$runtime"*) kill -9 "$daemon"; wait "$daemon" 2>/dev/null; "start_$runtime" ;; esac
    # It gives up where nobody answers; its service would start it again.
    within 10 crictl version >/dev/null 2>&1
    case $victim in *kubelet) kill -9 "$kubelet"; wait "$kubelet" 2>/dev/null; start_kubelet ;; esac
    same() { [ "$(ids)" = "$before" ]; }
    within 60 answers
    if within 60 same; then ok "$victim killed: the same containers run"; else bad "$victim killed: the same containers run" "$(diff <(jq . <<<"$before") <(ids | jq .) | tr '\n' ' ')"; fi
done

add probes
reaches probes "restarted by an exec probe" '.containerStatuses[] | select(.name == "exec") | .restartCount >= 1 and .lastState.terminated.exitCode == 137'
reaches probes "restarted by an HTTP probe" '.containerStatuses[] | select(.name == "http") | .restartCount >= 1 and .lastState.terminated != null'

reaches hooks "runs" "$ready"
reaches stubborn "runs" "$ready"
rm "$work/pods/"*
for pod in hooks stubborn shared web; do
    if within 60 gone $pod; then ok "$pod: is gone"; else bad "$pod: is gone" "$(status $pod) $(crictl pods -q --name "^$pod-node\$")"; fi
done
order=$(tr '\n' ' ' <"$work/hooks/log")
if [ "$order" = "post-start pre-stop term " ]; then ok "hooks: in order"; else bad "hooks: in order" "$order"; fi
none() { [ -z "$(get /pods | jq -r '.items[]?.metadata.name')" ] && [ -z "$(crictl pods -q)" ]; }
if within 90 none; then ok "no pod is left"; else bad "no pod is left" "$(crictl pods | tr '\n' '|')"; fi

