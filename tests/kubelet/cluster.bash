# A node of a cluster: the main part of `hack/kubelet --cluster`, which has the functions. What static pods cannot have.
# shellcheck shell=bash disable=SC2154 # names of hack/kubelet

# --- an API server -------------------------------------------------------------------------------

token=$(tr -dc a-z0-9 </dev/urandom | head -c 32)
echo "$token,admin,admin,system:masters" >"$work/tokens.csv"
chmod 600 "$work/tokens.csv"
openssl genrsa -out "$work/accounts.key" 2048 2>/dev/null
openssl rsa -in "$work/accounts.key" -pubout -out "$work/accounts.pub" 2>/dev/null
"$kubernetes/etcd" --name node --data-dir "$work/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --log-level warn >>"$out/etcd.log" 2>&1 &
etcd=$!
"$kubernetes/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --cert-dir "$work/api" --bind-address 127.0.0.1 --advertise-address 192.0.2.1 --secure-port 6443 \
    --service-cluster-ip-range 10.96.0.0/16 --authorization-mode AlwaysAllow --token-auth-file "$work/tokens.csv" --allow-privileged \
    --service-account-issuer https://node.test --service-account-key-file "$work/accounts.pub" --service-account-signing-key-file "$work/accounts.key" \
    --disable-admission-plugins ServiceAccount --kubelet-preferred-address-types InternalIP >>"$out/api.log" 2>&1 &
server=$!

api() { # METHOD PATH [BODY [TYPE]]
    curl -sk --max-time 10 -X "$1" -H "Authorization: Bearer $token" ${3:+-H "Content-Type: ${4:-application/json}" --data-binary "$3"} "https://127.0.0.1:6443$2"
}
ready_server() { [ "$(api GET /readyz)" = ok ]; }
within 120 ready_server || { echo "failed: the API server is not ready; $out/api.log ends with:"; tail -n 5 "$out/api.log"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
kubeconfig=$work/kubeconfig
cat >"$kubeconfig" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: node, user: {token: $token}}]
contexts: [{name: node, context: {cluster: node, user: node}}]
current-context: node
CONFIG
chmod 600 "$kubeconfig"
start_kubelet

# --- pods of it ----------------------------------------------------------------------------------

pods=/api/v1/namespaces/default/pods
image=registry.k8s.io/e2e-test-images/busybox:1.29-2
# What the pods of the API server say of themselves is asked there.
status() { api GET "$pods/$1" | jq -c .status; }
text() { api GET "$pods/$1/log?container=$2"; }
# SPEC is JSON; what it does not say is the same for all.
create() { # POD SPEC
    local answer
    answer=$(jq -nc --arg name "$1" --argjson spec "$2" \
        '{apiVersion: "v1", kind: "Pod", metadata: {name: $name}, spec: ({nodeName: "node", serviceAccountName: "default", terminationGracePeriodSeconds: 1, automountServiceAccountToken: false} + $spec)}' |
        api POST $pods "$(cat)")
    [ "$(jq -r .kind <<<"$answer")" = Pod ] || bad "$1: is accepted" "$answer"
}
said() { # POD CONTAINER WHAT TEXT
    same() { [ "$(text "$1" "$2")" = "$3" ]; }
    if within 30 same "$1" "$2" "$4"; then ok "$1: $3"; else bad "$1: $3" "$(text "$1" "$2" | tr '\n' '|')"; fi
}
ready='.conditions[]? | select(.type == "Ready") | .status == "True"'

is_node() { api GET /api/v1/nodes/node | jq -e "$1" >/dev/null; }
if within 60 is_node '.status.conditions[] | select(.type == "Ready") | .status == "True"'; then ok "the node is ready"; else bad "the node is ready" "$(api GET /api/v1/nodes/node | jq -c .status.conditions)"; fi
api GET /api/v1/nodes/node | jq -c '.status | {nodeInfo, runtimeHandlers, features}' >"$out/node.json"
if is_node '.status.nodeInfo.containerRuntimeVersion | startswith("rtd://")'; then ok "the node names its runtime"; else bad "the node names its runtime" "$(cat "$out/node.json")"; fi
if is_node '.status.runtimeHandlers[] | select(.name == "") | .features | .recursiveReadOnlyMounts and .userNamespaces'; then ok "the node tells what its handlers can do"; else bad "the node tells what its handlers can do" "$(cat "$out/node.json")"; fi
if is_node '.status.features.supplementalGroupsPolicy'; then ok "the node has policies of groups"; else bad "the node has policies of groups" "$(cat "$out/node.json")"; fi

# Resize: `main` in place, `again` with a restart for its memory.
create resize "$(jq -nc --arg image $image '{containers: [
    {name: "main", image: $image, command: ["sleep", "100000"], resources: {requests: {cpu: "100m", memory: "32Mi"}, limits: {cpu: "250m", memory: "64Mi"}}},
    {name: "again", image: $image, command: ["sleep", "100000"], resources: {limits: {cpu: "100m", memory: "64Mi"}}, resizePolicy: [{resourceName: "memory", restartPolicy: "RestartContainer"}]}]}')"
reaches resize "ready" "$ready"
before=$(status resize | jq -c '.containerStatuses[] | select(.name == "main") | .containerID')
limit() { # FILE of v1, FILE of v2: the file of the container's own cgroup
    local id
    id=$(status resize | jq -r '.containerStatuses[] | select(.name == "main") | .containerID | sub(".*//"; "")')
    find /sys/fs/cgroup -path "*$id*" \( -name "$1" -o -name "$2" \) -exec cat {} + 2>/dev/null | head -n 1
}
resize() { # CONTAINER RESOURCES
    api PATCH "$pods/resize/resize" "{\"spec\": {\"containers\": [{\"name\": \"$1\", \"resources\": $2}]}}" application/strategic-merge-patch+json >"$out/resize.json"
}
resize main '{"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}'
reaches resize "grows in place" '.containerStatuses[] | select(.name == "main") | .resources.limits == {cpu: "500m", memory: "128Mi"} and .restartCount == 0'
if [ "$(limit memory.limit_in_bytes memory.max)" = 134217728 ]; then ok "resize: its cgroup has the new limit"; else bad "resize: its cgroup has the new limit" "$(limit memory.limit_in_bytes memory.max)"; fi
resize main '{"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "250m", "memory": "96Mi"}}'
reaches resize "shrinks in place" '.containerStatuses[] | select(.name == "main") | .resources.limits == {cpu: "250m", memory: "96Mi"} and .restartCount == 0'
if [ "$(status resize | jq -c '.containerStatuses[] | select(.name == "main") | .containerID')" = "$before" ]; then ok "resize: it is the same container"; else bad "resize: it is the same container" "$(status resize)"; fi
resize again '{"limits": {"cpu": "100m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}'
reaches resize "restarts what asks for it" '.containerStatuses[] | select(.name == "again") | .resources.limits.memory == "128Mi" and .restartCount == 1'
# What others have been promised is not there for it.
create neighbour "{\"containers\": [{\"name\": \"main\", \"image\": \"$image\", \"command\": [\"sleep\", \"100000\"], \"resources\": {\"requests\": {\"cpu\": \"500m\"}}}]}"
reaches neighbour "ready" "$ready"
cores=$(api GET /api/v1/nodes/node | jq -r '.status.allocatable.cpu')
resize main "{\"requests\": {\"cpu\": \"$((cores * 1000 - 200))m\"}, \"limits\": {\"cpu\": \"$cores\"}}"
reaches resize "more than the node has left is put off, and all goes on" \
    '(.conditions[] | select(.type == "PodResizePending") | .reason == "Deferred") and (.containerStatuses[] | select(.name == "main") | .state.running != null and .restartCount == 0)'

# What kubectl debug makes: a container that comes later and sees the processes of another one.
create debugged "{\"containers\": [{\"name\": \"main\", \"image\": \"$image\", \"command\": [\"sleep\", \"424242\"]}]}"
reaches debugged "ready" "$ready"
api PATCH "$pods/debugged/ephemeralcontainers" "{\"spec\": {\"ephemeralContainers\": [{\"name\": \"debugger\", \"image\": \"$image\", \"targetContainerName\": \"main\",
    \"command\": [\"sh\", \"-c\", \"grep -l 424242 /proc/[0-9]*/cmdline | head -n 1; sleep 100000\"]}]}}" application/strategic-merge-patch+json >"$out/debug.json"
said debugged debugger "an ephemeral container sees the processes of its target" /proc/1/cmdline

# Volumes that come from the API server, and what a pod may know of itself.
api POST /api/v1/namespaces/default/configmaps '{"metadata": {"name": "settings"}, "data": {"key": "old"}}' >/dev/null
api POST /api/v1/namespaces/default/secrets '{"metadata": {"name": "hidden"}, "stringData": {"password": "secret"}}' >/dev/null
api POST /api/v1/namespaces/default/serviceaccounts '{"metadata": {"name": "default"}}' >/dev/null
create volumes "$(jq -nc --arg image $image '{
    volumes: [{name: "all", projected: {sources: [{configMap: {name: "settings"}}, {secret: {name: "hidden"}},
        {serviceAccountToken: {path: "token", expirationSeconds: 600}}, {downwardAPI: {items: [{path: "name", fieldRef: {fieldPath: "metadata.name"}}]}}]}}],
    containers: [{name: "main", image: $image, volumeMounts: [{name: "all", mountPath: "/all", readOnly: true, recursiveReadOnly: "Enabled"}],
        env: [{name: "PASSWORD", valueFrom: {secretKeyRef: {name: "hidden", key: "password"}}}, {name: "IP", valueFrom: {fieldRef: {fieldPath: "status.podIP"}}}],
        command: ["sh", "-c", "cat /all/key /all/password /all/name; echo \" $PASSWORD\"; cut -c 1-2 /all/token; touch /all/x 2>/dev/null || echo read-only; [ -n \"$IP\" ] && echo address; until grep -q new /all/key; do sleep 1; done; cat /all/key; echo; sleep 100000"]}]}')"
reaches volumes "ready" "$ready"
said volumes main "volumes, tokens, secrets and its own name" $'oldsecretvolumes secret\ney\nread-only\naddress'
api PATCH /api/v1/namespaces/default/configmaps/settings '{"data": {"key": "new"}}' application/merge-patch+json >"$out/config-map.json"
changed() { [ "$(text volumes main | tail -n 1)" = new ]; }
if within 120 changed; then ok "volumes: a change of a config map arrives"; else bad "volumes: a change of a config map arrives" "$(text volumes main | tr '\n' '|')"; fi

# Runtime classes.
for handler in rt missing; do
    api POST /apis/node.k8s.io/v1/runtimeclasses "{\"metadata\": {\"name\": \"$handler\"}, \"handler\": \"$handler\"}" >/dev/null
    create "of-$handler" "{\"runtimeClassName\": \"$handler\", \"containers\": [{\"name\": \"main\", \"image\": \"$image\", \"command\": [\"sleep\", \"100000\"]}]}"
done
reaches of-rt "runs by its handler" "$ready"
told() { api GET "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=of-missing" | jq -e '.items[] | select(.reason == "FailedCreatePodSandBox") | .message | contains("missing")' >/dev/null; }
if within 60 told; then ok "of-missing: a handler that is none is named in an event"; else bad "of-missing: a handler that is none is named in an event" "$(api GET /api/v1/namespaces/default/events | jq -c '[.items[].message]')"; fi

# Images that cannot be had.
create no-image '{"containers": [{"name": "main", "image": "registry.k8s.io/none:1"}]}'
reaches no-image "waits for its image" '.containerStatuses[0].state.waiting.reason | . == "ErrImagePull" or . == "ImagePullBackOff"'

# exec through the API server: a frame of channel 1 has the output.
answer=$(printf '%s\r\n' "GET $pods/debugged/exec?container=main&command=echo&command=hello&stdout=1 HTTP/1.1" 'Host: node' "Authorization: Bearer $token" 'Connection: Upgrade' \
    'Upgrade: websocket' 'Sec-WebSocket-Version: 13' 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' 'Sec-WebSocket-Protocol: v5.channel.k8s.io' '' |
    timeout 10 openssl s_client -quiet -ign_eof -connect 127.0.0.1:6443 2>/dev/null | tr -d '\0')
case $answer in
*$'\001hello'*'"status":"Success"'*) ok "debugged: a command through the API server" ;;
*) bad "debugged: a command through the API server" "$answer" ;;
esac

# The daemon is gone for a moment: nothing restarts.
counts() { api GET $pods | jq -cS '[.items[] | .metadata.name as $pod | .status.containerStatuses[]? | select(.state.running) | {key: "\($pod)/\(.name)", value: .restartCount}] | from_entries'; }
before=$(counts)
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
"start_$runtime"
within 10 crictl version >/dev/null 2>&1
sleep 5
if within 30 is_node '.status.conditions[] | select(.type == "Ready") | .status == "True"' && [ "$(counts)" = "$before" ]; then ok "$runtime killed: nothing restarted"; else bad "$runtime killed: nothing restarted" "$before $(counts)"; fi

for pod in $(api GET $pods | jq -r '.items[].metadata.name'); do api DELETE "$pods/$pod" >/dev/null; done
none() { [ "$(api GET $pods | jq '.items | length')" = 0 ] && [ -z "$(crictl pods -q)" ]; }
if within 90 none; then ok "no pod is left"; else bad "no pod is left" "$(crictl pods | tr '\n' '|')"; fi
# Without etcd, and with a kubelet that asks on, the server would not end.
kill -9 "$server"
kill "$etcd"
wait "$server" "$etcd"
